//! From words to a checked expression: CEL's precedence, and a type for every part.
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};

use super::attribute::{Attribute, Type, Value};
use super::expression::{Comparison, ExpressionError, MAX_DEPTH, Node, Search};
use super::lexer::{Lexer, Token};
use crate::l7::Regex;

type Typed = (Node, Type);
type Parsed = Result<Typed, ExpressionError>;

/// Parses all of `text`.
pub(super) fn parse(text: &str) -> Parsed {
    let mut parser = Parser { lexer: Lexer::new(text), ahead: None, depth: 0 };
    parser.ahead = parser.lexer.next()?;
    let parsed = parser.choice()?;
    match parser.ahead {
        None => Ok(parsed),
        Some(_) => Err(parser.unexpected()),
    }
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    ahead: Option<(usize, Token)>,
    depth: usize,
}

fn needs(what: &'static str, needed: Type, found: Type) -> Result<(), ExpressionError> {
    if needed == found {
        return Ok(());
    }
    Err(ExpressionError::Mismatch { what, needed: needed.as_str(), found: found.as_str() })
}

/// A text that is known now.
fn literal(node: &Node) -> Option<String> {
    let Node::Literal(Value::Text(text)) = node else { return None };
    String::from_utf8(text.to_vec()).ok()
}

impl Parser<'_> {
    fn advance(&mut self) -> Result<Option<Token>, ExpressionError> {
        let next = self.lexer.next()?;
        Ok(core::mem::replace(&mut self.ahead, next).map(|(_, token)| token))
    }

    /// Takes the sign if it is next.
    fn take(&mut self, sign: &'static str) -> Result<bool, ExpressionError> {
        let here = matches!(&self.ahead, Some((_, Token::Sign(found))) if *found == sign);
        if here {
            self.advance()?;
        }
        Ok(here)
    }

    fn expect(&mut self, sign: &'static str) -> Result<(), ExpressionError> {
        if self.take(sign)? { Ok(()) } else { Err(self.unexpected()) }
    }

    fn unexpected(&self) -> ExpressionError {
        let Some((at, token)) = &self.ahead else { return ExpressionError::End };
        let found = match token {
            Token::Name(text) | Token::Text(text) => text.as_str().into(),
            Token::Int(number) => number.to_string().into(),
            Token::Sign(sign) => (*sign).into(),
        };
        ExpressionError::Unexpected { at: *at, found }
    }

    fn deeper(&mut self, inner: fn(&mut Self) -> Parsed) -> Parsed {
        if self.depth >= MAX_DEPTH {
            return Err(ExpressionError::TooDeep);
        }
        self.depth = self.depth.saturating_add(1);
        let parsed = inner(self);
        self.depth = self.depth.saturating_sub(1);
        parsed
    }

    /// `a ? b : c`.
    fn choice(&mut self) -> Parsed {
        let (condition, kind) = self.deeper(Self::any)?;
        if !self.take("?")? {
            return Ok((condition, kind));
        }
        needs("the condition before ?", Type::Bool, kind)?;
        let (yes, yes_kind) = self.deeper(Self::choice)?;
        self.expect(":")?;
        let (no, no_kind) = self.deeper(Self::choice)?;
        needs("the part after :", yes_kind, no_kind)?;
        Ok((Node::Choose(condition.into(), yes.into(), no.into()), yes_kind))
    }

    /// `a || b`.
    fn any(&mut self) -> Parsed {
        self.chain("||", Self::all, Node::Or)
    }

    /// `a && b`.
    fn all(&mut self) -> Parsed {
        self.chain("&&", Self::comparison, Node::And)
    }

    fn chain(
        &mut self,
        sign: &'static str,
        part: fn(&mut Self) -> Parsed,
        join: fn(Box<Node>, Box<Node>) -> Node,
    ) -> Parsed {
        let (mut node, kind) = part(self)?;
        // To the left each hangs deeper than the next: a chain counts as depth.
        let mut links = 0_usize;
        while self.take(sign)? {
            needs(sign, Type::Bool, kind)?;
            let (next, next_kind) = part(self)?;
            needs(sign, Type::Bool, next_kind)?;
            node = join(node.into(), next.into());
            links = links.saturating_add(1);
            if links > MAX_DEPTH {
                return Err(ExpressionError::TooDeep);
            }
        }
        Ok((node, kind))
    }

    fn comparison(&mut self) -> Parsed {
        let (one, kind) = self.unary()?;
        let how = match &self.ahead {
            Some((_, Token::Sign("=="))) => Comparison::Equal,
            Some((_, Token::Sign("!="))) => Comparison::Unequal,
            Some((_, Token::Sign("<"))) => Comparison::Less,
            Some((_, Token::Sign("<="))) => Comparison::LessOrEqual,
            Some((_, Token::Sign(">"))) => Comparison::Greater,
            Some((_, Token::Sign(">="))) => Comparison::GreaterOrEqual,
            _ => return Ok((one, kind)),
        };
        self.advance()?;
        let (two, two_kind) = self.unary()?;
        needs("the right side of a comparison", kind, two_kind)?;
        Ok((Node::Compare(how, one.into(), two.into()), Type::Bool))
    }

    fn unary(&mut self) -> Parsed {
        if self.take("!")? {
            let (node, kind) = self.deeper(Self::unary)?;
            needs("!", Type::Bool, kind)?;
            return Ok((Node::Not(node.into()), Type::Bool));
        }
        if self.take("-")? {
            return match self.advance()? {
                // The one number that has no positive twin cannot be written; nobody misses it.
                Some(Token::Int(number)) => {
                    Ok((Node::Literal(Value::Int(number.saturating_neg())), Type::Int))
                }
                _ => Err(self.unexpected()),
            };
        }
        let start = self.operand()?;
        self.methods(start)
    }

    fn operand(&mut self) -> Parsed {
        if self.take("(")? {
            let inner = self.deeper(Self::choice)?;
            self.expect(")")?;
            return Ok(inner);
        }
        match &self.ahead {
            Some((_, Token::Name(_) | Token::Text(_) | Token::Int(_))) => {}
            _ => return Err(self.unexpected()),
        }
        match self.advance()? {
            Some(Token::Int(number)) => Ok((Node::Literal(Value::Int(number)), Type::Int)),
            Some(Token::Text(text)) => Ok((Node::Literal(Value::made(text)), Type::Text)),
            Some(Token::Name(name)) => match name.as_str() {
                "true" | "false" => Ok((Node::Literal(Value::Bool(name == "true")), Type::Bool)),
                "has" => {
                    self.expect("(")?;
                    let Some(Token::Name(name)) = self.advance()? else { return Err(self.unexpected()) };
                    let attribute = self.attribute(name)?;
                    self.expect(")")?;
                    Ok((Node::Has(attribute), Type::Bool))
                }
                "string" => {
                    self.expect("(")?;
                    let (node, _) = self.deeper(Self::choice)?;
                    self.expect(")")?;
                    Ok((Node::ToText(node.into()), Type::Text))
                }
                "duration" => {
                    self.expect("(")?;
                    let Some(Token::Text(text)) = self.advance()? else { return Err(self.unexpected()) };
                    self.expect(")")?;
                    let nanos = nanoseconds(&text);
                    let nanos = nanos.ok_or_else(|| ExpressionError::Duration { text: text.into() })?;
                    Ok((Node::Literal(Value::Duration(nanos)), Type::Duration))
                }
                _ => {
                    let attribute = self.attribute(name)?;
                    let kind = attribute.kind();
                    Ok((Node::Get(attribute), kind))
                }
            },
            _ => Err(self.unexpected()),
        }
    }

    /// The attribute that begins with `name`: `request.method`, `request.headers['x']`.
    fn attribute(&mut self, name: String) -> Result<Attribute, ExpressionError> {
        self.expect(".").map_err(|_| ExpressionError::Unknown { name: name.as_str().into() })?;
        let Some(Token::Name(field)) = self.advance()? else { return Err(self.unexpected()) };
        let path = format!("{name}.{field}");
        let header: fn(Box<str>) -> Attribute = match path.as_str() {
            "request.headers" => Attribute::RequestHeader,
            "response.headers" => Attribute::ResponseHeader,
            _ => return Attribute::of(&path).ok_or_else(|| ExpressionError::Unknown { name: path.into() }),
        };
        self.expect("[")?;
        let Some(Token::Text(name)) = self.advance()? else { return Err(self.unexpected()) };
        self.expect("]")?;
        Ok(header(name.to_ascii_lowercase().into()))
    }

    /// `.contains('x')` and its like, as often as they come.
    fn methods(&mut self, start: Typed) -> Parsed {
        let (mut node, mut kind) = start;
        let mut links = 0_usize;
        while self.take(".")? {
            let Some(Token::Name(method)) = self.advance()? else { return Err(self.unexpected()) };
            self.expect("(")?;
            let (argument, argument_kind) = self.deeper(Self::choice)?;
            self.expect(")")?;
            needs("the text before a method", Type::Text, kind)?;
            needs("the argument of a method", Type::Text, argument_kind)?;
            node = match method.as_str() {
                "startsWith" => Node::Search(Search::Beginning, node.into(), argument.into()),
                "endsWith" => Node::Search(Search::End, node.into(), argument.into()),
                "contains" => Node::Search(Search::Anywhere, node.into(), argument.into()),
                "matches" => matches(node, &argument)?,
                _ => return Err(ExpressionError::Unknown { name: method.into() }),
            };
            kind = Type::Bool;
            links = links.saturating_add(1);
            if links > MAX_DEPTH {
                return Err(ExpressionError::TooDeep);
            }
        }
        Ok((node, kind))
    }
}

/// CEL's `matches` is content with a part of the text; our expressions are for all of it.
fn matches(node: Node, argument: &Node) -> Result<Node, ExpressionError> {
    let mismatch = ExpressionError::Mismatch { what: "matches", needed: "a text", found: "what is computed" };
    let written = literal(argument).ok_or(mismatch)?;
    let compiled = Regex::new(&written).and_then(|_| Regex::new(&format!("(?s:.*)(?:{written})(?s:.*)")));
    match compiled {
        Ok(regex) => Ok(Node::Matches(node.into(), regex)),
        Err(error) => Err(ExpressionError::Regex { text: written.into(), cause: error.cause }),
    }
}

/// `1.5s` and so on, in nanoseconds.
fn nanoseconds(text: &str) -> Option<i64> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at_checked(split)?;
    let unit: i64 = match unit {
        "ns" => 1,
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let whole: i64 = whole.parse().ok()?;
    let digits = part.get(..part.len().min(9))?;
    let parts: i64 = digits.parse().ok()?;
    let of = 10_i64.checked_pow(u32::try_from(digits.len()).ok()?)?;
    // 128 bits hold it: nine digits by the longest unit.
    let parts = i128::from(parts).checked_mul(unit.into())?.checked_div(of.into())?;
    whole.checked_mul(unit)?.checked_add(i64::try_from(parts).ok()?)
}
