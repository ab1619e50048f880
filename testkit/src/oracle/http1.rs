//! Requests of HTTP/1.1 as RFC 9112 frames them, read from all octets at once, line by line.

/// How a request's body is framed (§6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// It has none.
    None,
    /// By `content-length`.
    Length(u64),
    /// In chunks.
    Chunked,
}

/// A request that is there whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its method.
    pub method: String,
    /// Its target, as it came.
    pub target: Vec<u8>,
    /// `HTTP/1.1`, or an older one.
    pub current: bool,
    /// Its fields: name in small letters, and value without the blanks around it.
    pub fields: Vec<(String, Vec<u8>)>,
    /// How its body is framed.
    pub framing: Framing,
    /// Its body, without framing.
    pub body: Vec<u8>,
    /// Where it ends.
    pub end: usize,
}

/// What follows the last request that is there whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Nothing.
    Nothing,
    /// The beginning of another, so far as its lines are complete.
    Beginning,
    /// What is no request.
    Malformed,
}

/// The requests that `octets` begin with.
#[must_use]
pub fn messages(octets: &[u8]) -> (Vec<Message>, Rest) {
    let mut messages = Vec::new();
    let mut at = 0;
    loop {
        while octets[at..].starts_with(b"\r\n") {
            at += 2;
        }
        if at == octets.len() {
            return (messages, Rest::Nothing);
        }
        let mut lines = Lines { octets, at };
        match lines.message() {
            Ok(message) => {
                at = message.end;
                messages.push(message);
            }
            Err(rest) => return (messages, rest),
        }
    }
}

struct Lines<'a> {
    octets: &'a [u8],
    at: usize,
}

type Read<T> = Result<T, Rest>;

impl<'a> Lines<'a> {
    /// The next line, without its end.
    fn line(&mut self) -> Read<&'a [u8]> {
        let rest = &self.octets[self.at..];
        let end = rest.windows(2).position(|pair| pair == b"\r\n").ok_or(Rest::Beginning)?;
        self.at += end + 2;
        let line = &rest[..end];
        let control = line.iter().any(|octet| octet.is_ascii_control() && *octet != b'\t');
        if control { Err(Rest::Malformed) } else { Ok(line) }
    }

    /// So many octets.
    fn take(&mut self, count: u64) -> Read<&'a [u8]> {
        let rest = &self.octets[self.at..];
        let count =
            usize::try_from(count).ok().filter(|count| *count <= rest.len()).ok_or(Rest::Beginning)?;
        self.at += count;
        Ok(&rest[..count])
    }

    fn fields(&mut self) -> Read<Vec<(String, Vec<u8>)>> {
        let mut fields = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(fields);
            }
            let colon = line.iter().position(|octet| *octet == b':').ok_or(Rest::Malformed)?;
            let name = token(&line[..colon]).ok_or(Rest::Malformed)?;
            fields.push((name.to_ascii_lowercase(), line[colon + 1..].to_vec()));
        }
    }

    fn message(&mut self) -> Read<Message> {
        let parts: Vec<_> = self.line()?.split(|octet| *octet == b' ').collect();
        let [method, target, version] = parts[..] else { return Err(Rest::Malformed) };
        let method = token(method).ok_or(Rest::Malformed)?;
        let current = match version {
            b"HTTP/1.1" => true,
            b"HTTP/1.0" => false,
            _ => return Err(Rest::Malformed),
        };
        if target.is_empty() || target.contains(&b'\t') {
            return Err(Rest::Malformed);
        }
        let mut fields = self.fields()?;
        let framing = framing(&fields)?;
        let body = match framing {
            Framing::None => Vec::new(),
            Framing::Length(length) => self.take(length)?.to_vec(),
            Framing::Chunked => self.chunks()?,
        };
        for (_, value) in &mut fields {
            *value = value.trim_ascii().to_vec();
        }
        Ok(Message { method, target: target.to_vec(), current, fields, framing, body, end: self.at })
    }

    fn chunks(&mut self) -> Read<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let digits = line.split(|octet| *octet == b';').next().unwrap_or_default();
            let hexadecimal = digits.iter().all(u8::is_ascii_hexdigit);
            let text =
                std::str::from_utf8(digits).ok().filter(|text| hexadecimal && (1..=15).contains(&text.len()));
            let size = u64::from_str_radix(text.ok_or(Rest::Malformed)?, 16).map_err(|_| Rest::Malformed)?;
            if size == 0 {
                self.fields()?;
                return Ok(body);
            }
            body.extend_from_slice(self.take(size)?);
            if self.take(2)? != b"\r\n" {
                return Err(Rest::Malformed);
            }
        }
    }
}

fn framing(fields: &[(String, Vec<u8>)]) -> Read<Framing> {
    let values = |wanted: &str| -> Vec<&[u8]> {
        fields.iter().filter(|(name, _)| name == wanted).map(|(_, value)| &value[..]).collect()
    };
    // Nobody means a value of more than a hundred octets.
    let plain = |value: &[u8]| (value.len() <= 100).then(|| value.trim_ascii().to_ascii_lowercase());
    match (&values("content-length")[..], &values("transfer-encoding")[..]) {
        ([], []) => Ok(Framing::None),
        ([length], []) => {
            let digits = plain(length).and_then(|digits| String::from_utf8(digits).ok());
            let digits = digits.filter(|digits| digits.bytes().all(|octet| octet.is_ascii_digit()));
            let length = digits.and_then(|digits| digits.parse().ok());
            length.map(Framing::Length).ok_or(Rest::Malformed)
        }
        ([], [encoding]) if plain(encoding).as_deref() == Some(b"chunked") => Ok(Framing::Chunked),
        _ => Err(Rest::Malformed),
    }
}

/// RFC 9110 §5.6.2.
fn token(octets: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(octets).ok().filter(|text| !text.is_empty())?;
    let fine = text.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c));
    fine.then(|| text.to_owned())
}
