//! `/logging`: which levels are in force, and other ones.
use crate::http::{Method, Request, Response};
use crate::logging::Levels;

const HELP: &str = "usage: POST /logging\t\t\t\t\t\t(To list current level)
usage: POST /logging?level=<level>\t\t\t\t(To change the level of everything)
usage: POST /logging?level={target1}={level1},{target2}={level2}\t(To change single targets)
usage: POST /logging?reset\t\t\t\t\t(Back to the levels of the start)

hint: level\t\t\toff, error, warn, info, debug or trace
hint: target\t\t\tfirst part of where a line comes from, such as access or tunnel
";

/// `level` adds directives to those in force, `reset` goes back to the first ones before that.
pub(super) fn answer(levels: &Levels, request: &Request) -> Response {
    if request.method != Method::Post {
        return Response::not_allowed("POST", format!("Invalid HTTP method\n{HELP}"));
    }
    let query = &request.target.query;
    let reset = query.has("reset");
    let level = query.get("level").filter(|level| !(reset && level.is_empty()));
    let result = match (reset, level) {
        (true, None) => levels.reset(),
        (true, Some(level)) => levels.reset().and_then(|()| levels.add(level)),
        (false, Some(level)) => levels.add(level),
        (false, None) if query.is_empty() => Ok(()),
        (false, None) => return Response::text(400, format!("Invalid query\n{HELP}")),
    };
    match result {
        Ok(()) => Response::text(200, format!("current log level is {}\n", levels.current())),
        Err(error) => Response::text(400, format!("{error}\n{HELP}")),
    }
}
