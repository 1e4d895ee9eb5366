//! How many bytes the values of a type take in the Native format.

/// The serialization of a column, as far as its length depends on it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Bytes per value.
    Fixed(u64),
    /// A length and the bytes, per value.
    Text,
    /// A byte per value, then the values.
    Nullable(Box<Shape>),
    /// The ends of the arrays as eight bytes each, then the elements of all of them.
    Array(Box<Shape>),
    /// The elements, each as a column.
    Tuple(Vec<Shape>),
    /// The kind of the indexes, the number of keys, the keys, the number of values, and an index per value.
    LowCardinality(Box<Shape>),
}

/// Deeper types are refused: no one writes them.
const MAX_DEPTH: usize = 32;

impl Shape {
    /// The shape of the type `name`; `None` when it is not known.
    pub(super) fn parse(name: &str) -> Option<Shape> {
        parse(name.trim(), 0)
    }

    /// How many LowCardinality columns are inside: each has a version of eight bytes before all data of the column.
    pub(super) fn versions(&self) -> u64 {
        match self {
            Shape::Fixed(_) | Shape::Text => 0,
            Shape::Nullable(inner) | Shape::Array(inner) => inner.versions(),
            Shape::Tuple(elements) => elements.iter().map(Shape::versions).sum(),
            Shape::LowCardinality(_) => 1,
        }
    }
}

fn parse(name: &str, depth: usize) -> Option<Shape> {
    if depth > MAX_DEPTH {
        return None;
    }
    let (family, arguments) = match name.split_once('(') {
        Some((family, rest)) => (family.trim(), split(rest.trim_end().strip_suffix(')')?)),
        None => (name, Vec::new()),
    };
    let inner = |index: usize| parse(arguments.get(index)?, depth + 1);
    let array = |shape: Shape| Shape::Array(Box::new(shape));
    let point = || Shape::Tuple(vec![Shape::Fixed(8), Shape::Fixed(8)]);
    Some(match family {
        "String" => Shape::Text,
        "Nullable" => Shape::Nullable(Box::new(inner(0)?)),
        "LowCardinality" => match inner(0)? {
            // The keys have a NULL among them and no byte per key.
            Shape::Nullable(keys) => Shape::LowCardinality(keys),
            keys => Shape::LowCardinality(Box::new(keys)),
        },
        "Array" => array(inner(0)?),
        "Map" => array(Shape::Tuple(vec![inner(0)?, inner(1)?])),
        "Tuple" if !arguments.is_empty() => Shape::Tuple(elements(&arguments, depth)?),
        "Nested" => array(Shape::Tuple(elements(&arguments, depth)?)),
        "SimpleAggregateFunction" => inner(1)?,
        "Point" => point(),
        "Ring" | "LineString" => array(point()),
        "Polygon" | "MultiLineString" => array(array(point())),
        "MultiPolygon" => array(array(array(point()))),
        "FixedString" => Shape::Fixed(arguments.first()?.parse().ok()?),
        "Decimal" => Shape::Fixed(decimal_width(arguments.first()?.parse().ok()?)?),
        _ => Shape::Fixed(width(family)?),
    })
}

/// The elements of a tuple, which may be named.
fn elements(arguments: &[&str], depth: usize) -> Option<Vec<Shape>> {
    let element = |argument: &&str| {
        parse(argument, depth + 1).or_else(|| {
            let name_end =
                if argument.starts_with('`') { closing_quote(argument)? } else { argument.find(' ')? };
            parse(argument.split_at(name_end).1.trim(), depth + 1)
        })
    };
    arguments.iter().map(element).collect()
}

/// Where the identifier in back-ticks ends.
fn closing_quote(text: &str) -> Option<usize> {
    let mut bytes = text.bytes().enumerate().skip(1);
    while let Some((index, byte)) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'`' => return Some(index + 1),
            _ => {}
        }
    }
    None
}

/// Splits at the commas that are in no parentheses and no quotes.
fn split(arguments: &str) -> Vec<&str> {
    let (mut depth, mut quote, mut escaped) = (0usize, None, false);
    arguments
        .split(move |c: char| {
            if escaped {
                escaped = false;
                return false;
            }
            match (c, quote) {
                ('\\', Some(_)) => escaped = true,
                (_, Some(open)) if c == open => quote = None,
                (_, Some(_)) => {}
                ('\'' | '`' | '"', None) => quote = Some(c),
                ('(', None) => depth += 1,
                (')', None) => depth = depth.saturating_sub(1),
                (',', None) => return depth == 0,
                _ => {}
            }
            false
        })
        .map(str::trim)
        .collect()
}

fn decimal_width(precision: u32) -> Option<u64> {
    match precision {
        1..=9 => Some(4),
        10..=18 => Some(8),
        19..=38 => Some(16),
        39..=76 => Some(32),
        _ => None,
    }
}

fn width(family: &str) -> Option<u64> {
    Some(match family {
        "Int8" | "UInt8" | "Bool" | "Enum8" | "Nothing" => 1,
        "Int16" | "UInt16" | "Enum16" | "Date" | "BFloat16" => 2,
        "Int32" | "UInt32" | "Float32" | "Date32" | "DateTime" | "Time" | "IPv4" | "Decimal32" => 4,
        "Int64" | "UInt64" | "Float64" | "DateTime64" | "Time64" | "Decimal64" => 8,
        "Int128" | "UInt128" | "UUID" | "IPv6" | "Decimal128" => 16,
        "Int256" | "UInt256" | "Decimal256" => 32,
        _ if family.starts_with("Interval") => 8,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_quotes_within_tuples_do_not_confuse() {
        let shape =
            Shape::parse("Tuple(`a, b)` UInt8, c Enum8('x,(' = 1, 'y\\'' = 2), Map(String, Decimal(20, 3)))");
        let map = Shape::Array(Box::new(Shape::Tuple(vec![Shape::Text, Shape::Fixed(16)])));
        assert_eq!(shape, Some(Shape::Tuple(vec![Shape::Fixed(1), Shape::Fixed(1), map])));
    }

    #[test]
    fn parameters_do_not_matter_where_the_width_is_known() {
        assert_eq!(Shape::parse("DateTime64(9, 'UTC')"), Some(Shape::Fixed(8)));
        assert_eq!(Shape::parse("Enum16('a' = -1)"), Some(Shape::Fixed(2)));
    }

    #[test]
    fn types_that_describe_themselves_are_unknown() {
        for name in ["JSON", "Dynamic", "Variant(String, UInt8)", "AggregateFunction(sum, UInt8)"] {
            assert_eq!(Shape::parse(name), None, "{name}");
        }
        assert_eq!(Shape::parse(&"Array(".repeat(100)), None);
    }
}
