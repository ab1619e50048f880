//! Text for people who watch a demo: lines on standard output, with colour only where it is a terminal.
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

/// Where the demo writes.
pub struct Screen {
    out: Box<dyn Write>,
    style: Style,
}

/// Whether words may be coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    colour: bool,
}

impl Screen {
    /// Standard output.
    #[must_use]
    pub fn stdout() -> Self {
        let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { out: Box::new(io::stdout()), style: Style { colour } }
    }

    /// One line, at once. A closed pipe is no reason to stop: the exit code is what counts then.
    pub fn line(&mut self, text: &str) {
        let _ = writeln!(self.out, "{text}").and_then(|()| self.out.flush());
    }

    /// How words may be shown.
    #[must_use]
    pub const fn style(&self) -> Style {
        self.style
    }
}

impl Style {
    /// Without any colour.
    pub const PLAIN: Self = Self { colour: false };

    fn paint(self, code: &str, text: impl Display) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }

    /// Bold.
    #[must_use]
    pub fn bold(self, text: impl Display) -> String {
        self.paint("1", text)
    }

    /// Dim: of less importance.
    #[must_use]
    pub fn dim(self, text: impl Display) -> String {
        self.paint("2", text)
    }

    /// Green: it went well.
    #[must_use]
    pub fn green(self, text: impl Display) -> String {
        self.paint("32", text)
    }

    /// Red: it did not.
    #[must_use]
    pub fn red(self, text: impl Display) -> String {
        self.paint("31", text)
    }

    /// Cyan: to be typed.
    #[must_use]
    pub fn cyan(self, text: impl Display) -> String {
        self.paint("36", text)
    }
}

/// Ends the process when a tour takes longer than `limit`, so that a hang is a failure and not a riddle.
///
/// # Errors
/// There is no thread to be had.
pub fn watch_the_clock(limit: Duration) -> io::Result<()> {
    let work = move || {
        std::thread::sleep(limit);
        let _ = writeln!(io::stderr(), "error: the tour took longer than {} s", limit.as_secs());
        std::process::exit(1);
    };
    std::thread::Builder::new().name("demo-clock".to_owned()).spawn(work).map(drop)
}
