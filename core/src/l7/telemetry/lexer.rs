//! Expressions cut into words.
use alloc::string::String;

use super::expression::ExpressionError;

/// A word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A name.
    Name(String),
    /// A text between quotes.
    Text(String),
    /// A number without sign.
    Int(i64),
    /// A sign or two.
    Sign(&'static str),
}

/// The longer ones first.
const SIGNS: [&str; 20] = [
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "(", ")", "[", "]", ".", ",", "?", ":", "-", "+", "*",
];

/// Cuts words off a text.
#[derive(Clone, Debug)]
pub(super) struct Lexer<'a> {
    whole: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(super) const fn new(whole: &'a str) -> Self {
        Self { whole, at: 0 }
    }

    fn rest(&self) -> &'a str {
        self.whole.get(self.at..).unwrap_or_default()
    }

    fn skip(&mut self, octets: usize) {
        self.at = self.at.saturating_add(octets);
    }

    /// The next word and where it begins; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(usize, Token)>, ExpressionError> {
        let blanks = self.rest().len().saturating_sub(self.rest().trim_start().len());
        self.skip(blanks);
        let (at, rest) = (self.at, self.rest());
        let Some(first) = rest.chars().next() else { return Ok(None) };
        let length = |inside: fn(char) -> bool| rest.find(|c| !inside(c)).unwrap_or(rest.len());
        if first.is_ascii_alphabetic() || first == '_' {
            let length = length(|c| c.is_ascii_alphanumeric() || c == '_');
            self.skip(length);
            return Ok(Some((at, Token::Name(rest.get(..length).unwrap_or_default().into()))));
        }
        if first.is_ascii_digit() {
            let length = length(|c| c.is_ascii_digit());
            self.skip(length);
            let number = rest.get(..length).and_then(|digits| digits.parse().ok());
            let number = number.ok_or(ExpressionError::Number { at })?;
            return Ok(Some((at, Token::Int(number))));
        }
        if matches!(first, '\'' | '"') {
            let text = self.quoted(at, first)?;
            return Ok(Some((at, Token::Text(text))));
        }
        let sign = SIGNS.into_iter().find(|sign| rest.starts_with(sign));
        let sign =
            sign.ok_or_else(|| ExpressionError::Unexpected { at, found: String::from(first).into() })?;
        self.skip(sign.len());
        Ok(Some((at, Token::Sign(sign))))
    }

    fn quoted(&mut self, at: usize, quote: char) -> Result<String, ExpressionError> {
        let mut text = String::new();
        let mut letters = self.rest().char_indices().skip(1);
        while let Some((place, letter)) = letters.next() {
            if letter == quote {
                self.skip(place.saturating_add(1));
                return Ok(text);
            }
            text.push(match letter {
                '\\' => match letters.next() {
                    Some((_, 'n')) => '\n',
                    Some((_, 't')) => '\t',
                    Some((_, 'r')) => '\r',
                    Some((_, same @ ('\\' | '\'' | '"'))) => same,
                    _ => return Err(ExpressionError::Escape { at: at.saturating_add(place) }),
                },
                letter => letter,
            });
        }
        Err(ExpressionError::Unclosed { at })
    }
}
