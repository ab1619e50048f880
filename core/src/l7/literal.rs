//! What all texts begin with that a regular expression holds for.
use alloc::string::String;

/// The letters that `expression` begins with, as far as they are for sure in every text that it holds for as a whole: empty
/// where nothing is. It is valid.
pub(super) fn literal_prefix(expression: &str) -> String {
    let mut rest = expression.strip_prefix('^').unwrap_or(expression);
    let mut literal = String::new();
    loop {
        let mut letters = rest.chars();
        let letter = match letters.next() {
            // Other letters after a backslash are classes and the like.
            Some('\\') => letters.next().filter(|it| it.is_ascii_punctuation() && !matches!(it, '<' | '>')),
            letter => letter.filter(|it| it.is_ascii() && !"^$.|?*+()[]{}".contains(*it)),
        };
        let Some(letter) = letter else { break };
        literal.push(letter);
        rest = letters.as_str();
    }
    if rest.starts_with(['?', '*', '+', '{']) {
        // The last letter may be there any number of times.
        literal.pop();
    }
    if may_alternate(rest) { String::new() } else { literal }
}

/// Whether `|` outside of brackets makes what comes before it one of several choices; or this is too hard to say.
fn may_alternate(rest: &str) -> bool {
    let (mut depth, mut letters) = (0_usize, rest.chars());
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => _ = letters.next(),
            '[' => {
                let inside = letters.as_str();
                if inside.strip_prefix('^').unwrap_or(inside).starts_with(']') || !leave_class(&mut letters) {
                    return true;
                }
            }
            // Flags may change what the letters after them mean.
            '(' if flags(letters.as_str()) => return true,
            '(' => depth = depth.saturating_add(1),
            ')' => depth = depth.saturating_sub(1),
            '|' if depth == 0 => return true,
            _ => {}
        }
    }
    false
}

fn flags(group: &str) -> bool {
    group.strip_prefix('?').is_some_and(|kind| !kind.starts_with([':', '<']) && !kind.starts_with("P<"))
}

/// Goes on behind the end of a class such as `[a-z]`; false where there are classes in it.
fn leave_class(letters: &mut core::str::Chars<'_>) -> bool {
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => _ = letters.next(),
            '[' => return false,
            ']' => return true,
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec;
    use alloc::vec::Vec;

    use proptest::prelude::*;
    use proptest::sample::select;

    use super::super::text::Regex;
    use super::*;

    #[test]
    fn letters_count_as_far_as_they_are_for_sure() {
        for (expression, expected) in [
            ("/shop/team-7/[a-z]+/[0-9]+", "/shop/team-7/"),
            ("^/shop/.*$", "/shop/"),
            (r"\/shop\/v1\.0\/\d+", "/shop/v1.0/"),
            ("/items?", "/item"),
            ("/items+*", "/item"),
            ("/items{0}", "/item"),
            ("/(a|b)/c", "/"),
            ("/x/(?:a|b)(?P<n>c|d)(?<m>e|f)", "/x/"),
            ("/x[|]", "/x"),
            ("/a|/b", ""),
            ("/x(a)|b", ""),
            ("/x[](]|b", ""),
            ("/x[^](]|b", ""),
            ("/x[a[(]]|b", ""),
            ("/x(?x) # (\n|b", ""),
            ("(?i)/shop", ""),
            (r"\d+", ""),
            (r"/\<a", "/"),
            ("/é/a", "/"),
            ("", ""),
        ] {
            assert_eq!(literal_prefix(expression), expected, "{expression}");
        }
    }

    proptest! {
        /// Whatever an expression is, and whatever it holds for begins with its letters.
        #[test]
        fn what_it_holds_for_begins_so(
            parts in prop::collection::vec(select(vec![
                "a", "b", "/", "|", "(", ")", "[", "]", "^", "*", "?", "+", "{0}", "{2}", r"\|", r"\[", r"\]", r"\(", r"\)",
                ".", "(?:", "(?x)", "(?i)", "(?x:", "#", "\n", "[^", "$", "-", "&&", r"\d", "é", " ",
            ]), 0..9),
            texts in prop::collection::vec(r"[abB/|()\[\]0#é \n-]{0,5}", 40),
        ) {
            let expression: String = parts.concat();
            if let Ok(regex) = Regex::new(&expression) {
                let literal = literal_prefix(&expression);
                let holds: Vec<_> = texts.iter().filter(|text| regex.matches(text.as_bytes())).collect();
                for text in holds {
                    prop_assert!(text.starts_with(&literal), "{expression} {literal:?} {}", text.to_string());
                }
            }
        }
    }
}
