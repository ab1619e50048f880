//! Expressions over an exchange: a closed part of CEL, checked and compiled where resources are read (waypoint.md §18.5).
use alloc::boxed::Box;
use alloc::string::String;
use core::cmp::Ordering;
use core::hash::{Hash, Hasher};

use super::attribute::{Attribute, Attributes, Type, Value};
use super::parser;
use crate::l7::Regex;

/// What an expression may be long, in octets.
pub(super) const MAX_LENGTH: usize = 4096;
/// How deep its parts may stand in each other.
pub(super) const MAX_DEPTH: usize = 32;

/// Why an expression is refused. Positions are in octets, from 0.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ExpressionError {
    /// It is too long.
    #[error("expressions may have {MAX_LENGTH} octets at most")]
    TooLong,
    /// Its parts stand in each other too deep.
    #[error("parts of an expression may stand in each other {MAX_DEPTH} deep at most")]
    TooDeep,
    /// Something that makes no sense there.
    #[error("{found:?} makes no sense at {at}")]
    Unexpected {
        /// Where.
        at: usize,
        /// What stands there.
        found: Box<str>,
    },
    /// It ends before it is whole.
    #[error("it ends in the middle")]
    End,
    /// A text without its second quote.
    #[error("the text that begins at {at} does not end")]
    Unclosed {
        /// Where it begins.
        at: usize,
    },
    /// An escape that is not known.
    #[error("the escape at {at} is not known: \\n, \\t, \\r, \\\\, \\' and \\\" are")]
    Escape {
        /// Where.
        at: usize,
    },
    /// A number that is too large.
    #[error("the number at {at} has more than 64 bits")]
    Number {
        /// Where.
        at: usize,
    },
    /// A name that means nothing here.
    #[error(
        "{name:?} is not supported: attributes are such as request.method, response.code, upstream_peer.workload"
    )]
    Unknown {
        /// The name.
        name: Box<str>,
    },
    /// A value of the wrong type.
    #[error("{what} needs {needed}, not {found}")]
    Mismatch {
        /// Who takes it.
        what: &'static str,
        /// The right type.
        needed: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// A regular expression that is none.
    #[error("{text:?}: {cause}")]
    Regex {
        /// What was written.
        text: Box<str>,
        /// What is wrong.
        cause: Box<str>,
    },
    /// A time span that is none.
    #[error("{text:?} is no duration such as 1.5s, 100ms, 2m or 1h")]
    Duration {
        /// What was written.
        text: Box<str>,
    },
}

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// How a text is searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Search {
    Beginning,
    End,
    Anywhere,
}

/// A compiled expression, or part of one.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Literal(Value<'static>),
    Get(Attribute),
    Has(Attribute),
    Not(Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
    Compare(Comparison, Box<Self>, Box<Self>),
    Choose(Box<Self>, Box<Self>, Box<Self>),
    Search(Search, Box<Self>, Box<Self>),
    Matches(Box<Self>, Regex),
    ToText(Box<Self>),
}

/// A compiled expression. It computes in time linear in its length and that of the texts it looks at.
#[derive(Clone, Debug)]
pub struct Expression {
    written: Box<str>,
    root: Node,
    kind: Type,
}

impl PartialEq for Expression {
    /// All of it follows from what was written.
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

impl Eq for Expression {}

impl Hash for Expression {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.written.hash(state);
    }
}

impl Expression {
    /// Compiles an expression of whatever type.
    ///
    /// # Errors
    /// See [`ExpressionError`]: it is none, or uses what is not supported.
    pub fn new(written: &str) -> Result<Self, ExpressionError> {
        if written.len() > MAX_LENGTH {
            return Err(ExpressionError::TooLong);
        }
        let (root, kind) = parser::parse(written)?;
        Ok(Self { written: written.into(), root, kind })
    }

    /// Compiles a condition.
    ///
    /// # Errors
    /// See [`ExpressionError`]; it is one, too, when the expression gives anything but a truth.
    pub fn condition(written: &str) -> Result<Self, ExpressionError> {
        let expression = Self::new(written)?;
        let (needed, found) = (Type::Bool.as_str(), expression.kind.as_str());
        match expression.kind {
            Type::Bool => Ok(expression),
            Type::Int | Type::Text | Type::Duration => {
                Err(ExpressionError::Mismatch { what: "a condition", needed, found })
            }
        }
    }

    /// What was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// Its value for an exchange.
    pub fn evaluate<'a>(&'a self, about: &'a impl Attributes) -> Value<'a> {
        evaluate(&self.root, about)
    }

    /// Whether it holds; what cannot be computed does not.
    pub fn holds(&self, about: &impl Attributes) -> bool {
        self.evaluate(about) == Value::Bool(true)
    }

    /// Its value as a text, `unknown` where there is none.
    pub fn text(&self, about: &impl Attributes) -> String {
        self.evaluate(about).to_text().unwrap_or_else(|| "unknown".into())
    }
}

fn borrowed<'a>(value: &'a Value<'static>) -> Value<'a> {
    match value {
        Value::Absent => Value::Absent,
        Value::Bool(truth) => Value::Bool(*truth),
        Value::Int(number) => Value::Int(*number),
        // Not `Value::text`: an empty literal is a text.
        Value::Text(text) => Value::Text(text.as_ref().into()),
        Value::Duration(nanos) => Value::Duration(*nanos),
    }
}

fn evaluate<'a>(node: &'a Node, about: &'a impl Attributes) -> Value<'a> {
    match node {
        Node::Literal(value) => borrowed(value),
        Node::Get(attribute) => about.get(attribute),
        Node::Has(attribute) => Value::Bool(about.get(attribute) != Value::Absent),
        Node::Not(one) => truth(&evaluate(one, about)).map_or(Value::Absent, |truth| Value::Bool(!truth)),
        // In CEL one side that decides does so even where the other is an error.
        Node::And(one, two) => decide(false, one, two, about),
        Node::Or(one, two) => decide(true, one, two, about),
        Node::Compare(how, one, two) => compare(*how, &evaluate(one, about), &evaluate(two, about)),
        Node::Choose(condition, yes, no) => match truth(&evaluate(condition, about)) {
            Some(true) => evaluate(yes, about),
            Some(false) => evaluate(no, about),
            None => Value::Absent,
        },
        Node::Search(how, one, two) => match (evaluate(one, about), evaluate(two, about)) {
            (Value::Text(text), Value::Text(part)) => Value::Bool(search(*how, &text, &part)),
            _ => Value::Absent,
        },
        Node::Matches(one, regex) => match evaluate(one, about) {
            Value::Text(text) => Value::Bool(regex.matches(&text)),
            Value::Absent | Value::Bool(_) | Value::Int(_) | Value::Duration(_) => Value::Absent,
        },
        Node::ToText(one) => match evaluate(one, about) {
            text @ (Value::Text(_) | Value::Absent) => text,
            other @ (Value::Bool(_) | Value::Int(_) | Value::Duration(_)) => {
                other.to_text().map_or(Value::Absent, Value::made)
            }
        },
    }
}

const fn truth(value: &Value<'_>) -> Option<bool> {
    if let Value::Bool(truth) = value { Some(*truth) } else { None }
}

fn decide<'a>(deciding: bool, one: &'a Node, two: &'a Node, about: &'a impl Attributes) -> Value<'a> {
    let first = evaluate(one, about);
    if first == Value::Bool(deciding) {
        return first;
    }
    match (first, evaluate(two, about)) {
        (_, Value::Bool(truth)) if truth == deciding => Value::Bool(deciding),
        (Value::Bool(_), Value::Bool(truth)) => Value::Bool(truth),
        _ => Value::Absent,
    }
}

fn compare<'a>(how: Comparison, one: &Value<'_>, two: &Value<'_>) -> Value<'a> {
    let order = match (one, two) {
        (Value::Bool(one), Value::Bool(two)) => one.cmp(two),
        (Value::Int(one), Value::Int(two)) | (Value::Duration(one), Value::Duration(two)) => one.cmp(two),
        (Value::Text(one), Value::Text(two)) => one.cmp(two),
        _ => return Value::Absent,
    };
    Value::Bool(match how {
        Comparison::Equal => order == Ordering::Equal,
        Comparison::Unequal => order != Ordering::Equal,
        Comparison::Less => order == Ordering::Less,
        Comparison::LessOrEqual => order != Ordering::Greater,
        Comparison::Greater => order == Ordering::Greater,
        Comparison::GreaterOrEqual => order != Ordering::Less,
    })
}

fn search(how: Search, text: &[u8], part: &[u8]) -> bool {
    match how {
        Search::Beginning => text.starts_with(part),
        Search::End => text.ends_with(part),
        // `windows` of nothing are not allowed.
        Search::Anywhere => part.is_empty() || text.windows(part.len()).any(|window| window == part),
    }
}

#[cfg(test)]
mod tests;
