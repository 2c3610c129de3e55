//! The filter parser: recursive descent with a bound on length and depth.

use super::{Filter, Literal, MAX_DEPTH, MAX_LENGTH, Operator};
use crate::{
    ScimError,
    path::{AttrPath, is_name_byte},
};

const OPERATORS: &str = "an operator (eq, ne, co, sw, ew, gt, ge, lt, le, pr)";

pub(super) fn parse(text: &str) -> Result<Filter, ScimError> {
    let mut parser = Parser::new(text)?;
    let filter = parser.any_of(0, false)?;
    if !parser.rest().is_empty() {
        return Err(parser.expected("\"and\", \"or\" or the end"));
    }
    Ok(filter)
}

/// Parses a filter up to the bracket that closes it; gives the filter and what follows the bracket.
pub(crate) fn parse_in_brackets(text: &str) -> Result<(Filter, &str), ScimError> {
    let mut parser = Parser::new(text)?;
    let filter = parser.any_of(1, true)?;
    if !parser.take("]") {
        return Err(parser.expected("\"and\", \"or\" or \"]\""));
    }
    Ok((filter, parser.rest()))
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Result<Self, ScimError> {
        if text.len() > MAX_LENGTH {
            return Err(ScimError::invalid_filter(format!(
                "The filter is longer than {MAX_LENGTH} bytes."
            )));
        }
        Ok(Self { text, at: 0 })
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip_space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn expected(&self, what: &str) -> ScimError {
        let position = self.text[..self.at].chars().count() + 1;
        let found = match self.rest().split_whitespace().next() {
            Some(word) => format!("{:?}", word.chars().take(30).collect::<String>()),
            None => "the end".to_owned(),
        };
        ScimError::invalid_filter(format!(
            "Filter, position {position}: expected {what}, found {found}."
        ))
    }

    /// The run of name characters here, not consumed.
    fn word(&self) -> &'a str {
        let rest = self.rest();
        let end = rest
            .bytes()
            .position(|byte| !is_name_byte(byte))
            .unwrap_or(rest.len());
        &rest[..end]
    }

    fn keyword(&mut self, word: &str) -> bool {
        let found = self.word().eq_ignore_ascii_case(word);
        if found {
            self.at += word.len();
        }
        found
    }

    fn any_of(&mut self, depth: usize, inside: bool) -> Result<Filter, ScimError> {
        let mut parts = vec![self.all_of(depth, inside)?];
        while self.keyword("or") {
            parts.push(self.all_of(depth, inside)?);
        }
        Ok(one_or(parts, Filter::Or))
    }

    fn all_of(&mut self, depth: usize, inside: bool) -> Result<Filter, ScimError> {
        let mut parts = vec![self.term(depth, inside)?];
        while self.keyword("and") {
            parts.push(self.term(depth, inside)?);
        }
        Ok(one_or(parts, Filter::And))
    }

    /// One comparison, group or negation, with the space around it.
    fn term(&mut self, depth: usize, inside: bool) -> Result<Filter, ScimError> {
        self.skip_space();
        let start = self.at;
        let negated = self.keyword("not");
        if negated {
            self.skip_space();
        }
        let filter = if self.take("(") {
            let inner = self.any_of(self.deeper(depth)?, inside)?;
            if !self.take(")") {
                return Err(self.expected("\"and\", \"or\" or \")\""));
            }
            if negated {
                Filter::Not(Box::new(inner))
            } else {
                inner
            }
        } else {
            // `not` without a parenthesis is an attribute's name like any other.
            self.at = start;
            self.expression(depth, inside)?
        };
        self.skip_space();
        Ok(filter)
    }

    fn deeper(&self, depth: usize) -> Result<usize, ScimError> {
        if depth == MAX_DEPTH {
            return Err(ScimError::invalid_filter(format!(
                "The filter nests deeper than {MAX_DEPTH} levels."
            )));
        }
        Ok(depth + 1)
    }

    fn expression(&mut self, depth: usize, inside: bool) -> Result<Filter, ScimError> {
        let word = self.word();
        let Some(path) = AttrPath::parse(word) else {
            return Err(self.expected("an attribute"));
        };
        self.at += word.len();
        if !inside && path.sub.is_none() && self.take("[") {
            return self.element(path, self.deeper(depth)?);
        }
        self.skip_space();
        self.comparison(path)
    }

    /// What follows `attr[`.
    fn element(&mut self, path: AttrPath, depth: usize) -> Result<Filter, ScimError> {
        let inner = self.any_of(depth, true)?;
        if !self.take("]") {
            return Err(self.expected("\"and\", \"or\" or \"]\""));
        }
        if !self.take(".") {
            return Ok(Filter::Element(path, Box::new(inner)));
        }
        // `emails[type eq "work"].value eq "x"` is not in the RFC's grammar, and Entra sends it. It means
        // one element with both.
        let sub = self.word();
        let Some(sub_path) = AttrPath::parse(sub).filter(|path| path.sub.is_none()) else {
            return Err(self.expected("a sub-attribute"));
        };
        self.at += sub.len();
        self.skip_space();
        let comparison = self.comparison(sub_path)?;
        let both = match inner {
            Filter::And(mut parts) => {
                parts.push(comparison);
                parts
            }
            // Written out it needs parentheses of its own, and they count.
            inner @ Filter::Or(_) => {
                self.deeper(depth)?;
                vec![inner, comparison]
            }
            inner => vec![inner, comparison],
        };
        Ok(Filter::Element(path, Box::new(Filter::And(both))))
    }

    fn comparison(&mut self, path: AttrPath) -> Result<Filter, ScimError> {
        if self.keyword("pr") {
            return Ok(Filter::Present(path));
        }
        let word = self.word();
        let Some(operator) = Operator::ALL
            .into_iter()
            .find(|operator| word.eq_ignore_ascii_case(operator.as_str()))
        else {
            return Err(self.expected(OPERATORS));
        };
        self.at += word.len();
        self.skip_space();
        Ok(Filter::Compare(path, operator, self.literal()?))
    }

    fn literal(&mut self) -> Result<Literal, ScimError> {
        const WANTED: &str = "a value: a text in double quotes, a number, true, false or null";
        let rest = self.rest();
        let (literal, length) = if rest.starts_with('"') {
            let end = text_end(rest).ok_or_else(|| self.expected("a closing double quote"))?;
            let text = serde_json::from_str(&rest[..end])
                .map_err(|_| self.expected("a text with JSON's escapes"))?;
            (Literal::Text(text), end)
        } else {
            let end = rest
                .bytes()
                .position(|byte| !(byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)))
                .unwrap_or(rest.len());
            let literal = match &rest[..end] {
                "null" => Literal::Null,
                "true" => Literal::Bool(true),
                "false" => Literal::Bool(false),
                number => Literal::Number(
                    serde_json::from_str(number).map_err(|_| self.expected(WANTED))?,
                ),
            };
            (literal, end)
        };
        self.at += length;
        Ok(literal)
    }
}

/// Where a JSON text that begins with a quote ends, the closing quote included.
pub(crate) fn text_end(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (index, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(index + 1),
            _ => {}
        }
    }
    None
}

fn one_or(mut parts: Vec<Filter>, many: fn(Vec<Filter>) -> Filter) -> Filter {
    match parts.len() {
        1 => parts.swap_remove(0),
        _ => many(parts),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ScimType;

    fn printed(text: &str) -> String {
        Filter::parse(text)
            .unwrap_or_else(|error| panic!("{text}: {error}"))
            .to_string()
    }

    /// Conformance: 42, 44.
    #[test]
    fn what_clients_send_parses() {
        for text in [
            r#"userName eq "a@b""#,
            r#"urn:ietf:params:scim:schemas:core:2.0:User:userName eq "a""#,
            r#"emails[type eq "work" and value co "@a"]"#,
            r#"meta.lastModified gt "2011-05-13T04:42:34Z""#,
            r#"a eq "x" or b ne 1.5 and c pr"#,
            r#"a eq null and b eq true and c eq -3"#,
            r#"members.$ref sw "x""#,
            r#"a eq "\"]) and (""#,
        ] {
            assert_eq!(printed(text), text);
        }
        assert_eq!(
            printed(r#"  userName  Eq  "j"  AND title PR "#),
            r#"userName eq "j" and title pr"#
        );
        assert_eq!(printed(r#"not(a pr) and b pr"#), "not (a pr) and b pr");
        assert_eq!(printed(r#"not pr"#), "not pr");
        assert_eq!(printed(r#"a eq "\u00e9\ud83d\ude00""#), "a eq \"é😀\"");
        // Entra's form.
        assert_eq!(
            printed(r#"emails[type eq "work"].value eq "x""#),
            r#"emails[type eq "work" and value eq "x"]"#
        );
    }

    /// Conformance: 43.
    #[test]
    fn and_binds_closer_than_or_and_not_closer_than_and() {
        let parsed = |text| Filter::parse(text).unwrap();
        assert_eq!(
            parsed("a pr or b pr and c pr"),
            parsed("a pr or (b pr and c pr)")
        );
        assert_ne!(
            parsed("a pr or b pr and c pr"),
            parsed("(a pr or b pr) and c pr")
        );
        assert_eq!(
            parsed("not (a pr) and b pr"),
            parsed("(not (a pr)) and b pr")
        );
    }

    /// Conformance: 44, 51, 54.
    #[test]
    fn what_is_not_a_filter_says_where() {
        for (text, position) in [
            ("", 1),
            ("userName", 9),
            ("userName foo \"x\"", 10),
            ("userName eq", 12),
            ("userName eq x", 13),
            ("userName eq 'x'", 13),
            ("userName eq \"x", 13),
            ("userName eq \"a\" foo", 17),
            ("userName eq \"a\" and", 20),
            ("(userName pr", 13),
            ("userName pr)", 12),
            ("emails[type pr", 15),
            ("emails[a[b pr]]", 9),
            ("a eq \"é\" é", 10),
            ("a eq 01", 6),
            ("a eq True", 6),
            ("a.b.c eq 1", 1),
        ] {
            let error = Filter::parse(text).unwrap_err();
            assert_eq!(error.scim_type, Some(ScimType::InvalidFilter));
            assert!(
                error.detail.contains(&format!("position {position}:")),
                "{text}: {}",
                error.detail
            );
        }
    }

    /// Conformance: 55.
    #[test]
    fn length_and_depth_are_bounded() {
        let nested = |depth| format!("{}a pr{}", "(".repeat(depth), ")".repeat(depth));
        assert!(Filter::parse(&nested(MAX_DEPTH)).is_ok());
        assert!(
            Filter::parse(&nested(MAX_DEPTH + 1))
                .unwrap_err()
                .detail
                .contains("64")
        );
        assert!(Filter::parse(&"not (".repeat(1500)).is_err());
        // What parses can be printed and parsed again, in Entra's form too.
        let entra = |inner: &str, depth| {
            let element = format!("emails[{inner}].value eq \"x\"");
            Filter::parse(&format!(
                "{}{element}{}",
                "not (".repeat(depth),
                ")".repeat(depth)
            ))
        };
        for inner in ["type pr and display pr", "not (type pr)"] {
            let deepest = MAX_DEPTH - 1 - usize::from(inner.starts_with("not"));
            let filter = entra(inner, deepest).unwrap();
            assert_eq!(Filter::parse(&filter.to_string()), Ok(filter));
        }
        let either = "type pr or display pr";
        let filter = entra(either, MAX_DEPTH - 2).unwrap();
        assert_eq!(Filter::parse(&filter.to_string()), Ok(filter));
        assert!(entra(either, MAX_DEPTH - 1).is_err());
        let long = format!("a eq \"{}\"", "x".repeat(MAX_LENGTH));
        assert!(Filter::parse(&long).unwrap_err().detail.contains("32768"));
    }

    fn path() -> impl Strategy<Value = AttrPath> {
        (
            proptest::option::of(Just(
                "urn:ietf:params:scim:schemas:core:2.0:User".to_owned(),
            )),
            "[a-zA-Z$][a-zA-Z][a-zA-Z0-9_-]{0,6}",
            proptest::option::of("[a-zA-Z][a-zA-Z0-9]{0,6}"),
        )
            .prop_map(|(schema, name, sub)| AttrPath { schema, name, sub })
    }

    fn literal() -> impl Strategy<Value = Literal> {
        prop_oneof![
            Just(Literal::Null),
            any::<bool>().prop_map(Literal::Bool),
            any::<i64>().prop_map(|number| Literal::Number(number.into())),
            any::<String>().prop_map(Literal::Text),
        ]
    }

    fn comparison() -> impl Strategy<Value = Filter> {
        prop_oneof![
            path().prop_map(Filter::Present),
            (
                path(),
                proptest::sample::select(&Operator::ALL[..]),
                literal()
            )
                .prop_map(|(path, operator, literal)| Filter::Compare(path, operator, literal)),
        ]
    }

    fn tree(leaf: BoxedStrategy<Filter>) -> BoxedStrategy<Filter> {
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 2..4).prop_map(Filter::And),
                proptest::collection::vec(inner.clone(), 2..4).prop_map(Filter::Or),
                inner.prop_map(|filter| Filter::Not(Box::new(filter))),
            ]
        })
        .boxed()
    }

    fn any_filter() -> BoxedStrategy<Filter> {
        let element = (path(), tree(comparison().boxed())).prop_map(|(path, inner)| {
            Filter::Element(AttrPath { sub: None, ..path }, Box::new(inner))
        });
        tree(prop_oneof![3 => comparison(), 1 => element].boxed())
    }

    proptest! {
        #[test]
        fn printing_and_parsing_is_the_identity(filter in any_filter()) {
            let text = filter.to_string();
            prop_assume!(text.len() <= MAX_LENGTH);
            prop_assert_eq!(Filter::parse(&text).unwrap(), filter);
        }

        /// Conformance: 55.
        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            let _outcome = Filter::parse(&text);
        }

        #[test]
        fn no_text_of_its_words_makes_it_panic(
            words in proptest::collection::vec(
                proptest::sample::select(vec![
                    "a", "eq", "pr", "and", "or", "not", "(", ")", "[", "]", ".", "\"x\"", "1", "\"", "urn:x:y",
                ]),
                0..20,
            ),
            glue in proptest::sample::select(vec!["", " "]),
        ) {
            let _outcome = Filter::parse(&words.join(glue));
        }
    }
}
