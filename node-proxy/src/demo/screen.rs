//! Text for people: lines on standard output, with colour only where it is a terminal.
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

/// Where the demo writes.
pub(super) struct Screen {
    out: Box<dyn Write>,
    style: Style,
}

/// Whether words may be coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Style {
    colour: bool,
}

impl Screen {
    pub(super) fn stdout() -> Self {
        let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { out: Box::new(io::stdout()), style: Style { colour } }
    }

    /// One line, at once. A closed pipe is no reason to stop: the exit code is what counts then.
    pub(super) fn line(&mut self, text: &str) {
        let _ = writeln!(self.out, "{text}").and_then(|()| self.out.flush());
    }

    pub(super) const fn style(&self) -> Style {
        self.style
    }
}

impl Style {
    /// Without any colour.
    #[cfg(test)]
    pub(super) const PLAIN: Self = Self { colour: false };

    fn paint(self, code: &str, text: impl Display) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }

    pub(super) fn bold(self, text: impl Display) -> String {
        self.paint("1", text)
    }

    pub(super) fn dim(self, text: impl Display) -> String {
        self.paint("2", text)
    }

    pub(super) fn green(self, text: impl Display) -> String {
        self.paint("32", text)
    }

    pub(super) fn red(self, text: impl Display) -> String {
        self.paint("31", text)
    }

    pub(super) fn cyan(self, text: impl Display) -> String {
        self.paint("36", text)
    }
}
