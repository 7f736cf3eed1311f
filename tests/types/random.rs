//! Random values in the text forms of their types.

use rand::Rng;
use rand::rngs::StdRng;

/// Text of at most so many characters, now and then that long.
pub fn text(random: &mut StdRng, max: usize) -> String {
    const LETTERS: &[char] =
        &['a', 'B', ' ', '\\', '\'', '"', '\n', '\t', ',', '{', '}', '(', ')', '0', 'ß', 'é', '漢', '😀', '.', '$'];
    let len = if random.random_range(0..3) == 0 { max } else { random.random_range(0..=max.min(40)) };
    (0..len).map(|_| LETTERS[random.random_range(0..LETTERS.len())]).collect()
}

/// A few plain words.
pub fn words(random: &mut StdRng) -> String {
    format!("w{} {}", random.random_range(0..999), random.random_range(0..999))
}

/// Bytes, now and then many that do not compress.
pub fn bytes(random: &mut StdRng) -> String {
    let len = if random.random_range(0..3) == 0 { 9_000 } else { random.random_range(0..30) };
    let hex: String = (0..len).map(|_| format!("{:02x}", random.random::<u8>())).collect();
    format!("\\x{hex}")
}

/// So many bits.
pub fn bits(random: &mut StdRng, min: usize, max: usize) -> String {
    let len = random.random_range(min..=max);
    (0..len).map(|_| if random.random() { '1' } else { '0' }).collect()
}

/// A finite number of any magnitude.
pub fn double(random: &mut StdRng) -> String {
    loop {
        let number = f64::from_bits(random.random());
        if number.is_finite() {
            return format!("{number:e}");
        }
    }
}

/// A finite number of any magnitude.
pub fn single(random: &mut StdRng) -> String {
    loop {
        let number = f32::from_bits(random.random());
        if number.is_finite() {
            return format!("{number:e}");
        }
    }
}

/// Any number of digits before and behind the point.
pub fn numeric(random: &mut StdRng) -> String {
    let mut digits = |max: usize| -> String {
        let len = random.random_range(1..max);
        (0..len).map(|_| char::from(random.random_range(b'0'..=b'9'))).collect()
    };
    format!("-{}.{}", digits(4_000), digits(400))
}

/// A date and a time, some of them before Christ.
pub fn moment(random: &mut StdRng, zone: &str) -> String {
    let (era, last) = if random.random_range(0..5) == 0 { (" BC", 4_700) } else { ("", 9_999) };
    format!(
        "{:04}-{:02}-{:02} {}{zone}{era}",
        random.random_range(1..last),
        random.random_range(1..13),
        random.random_range(1..29),
        time(random),
    )
}

/// A time of the day.
pub fn time(random: &mut StdRng) -> String {
    let (hour, minute, second) = (random.random_range(0..24), random.random_range(0..60), random.random_range(0..60));
    format!("{hour:02}:{minute:02}:{second:02}.{:06}", random.random_range(0..1_000_000))
}

/// An address, or a network.
pub fn network(random: &mut StdRng, whole: bool) -> String {
    match (random.random::<bool>(), whole) {
        (true, true) => format!("{}.0.0.0/8", random.random::<u8>()),
        (true, false) => {
            format!("{}/{}", std::net::Ipv4Addr::from(random.random::<u32>()), random.random_range(0..=32))
        }
        (false, true) => format!("{:x}::/16", random.random::<u16>()),
        (false, false) => {
            format!("{}/{}", std::net::Ipv6Addr::from(random.random::<u128>()), random.random_range(0..=128))
        }
    }
}

/// A document; with keys that come twice and spaces where json may have them.
pub fn json(random: &mut StdRng, twice: bool) -> String {
    let quoted = |text: String| {
        let mut out = String::from("\"");
        for letter in text.chars() {
            match letter {
                '"' | '\\' => out.extend(['\\', letter]),
                '\n' => out += "\\n",
                '\t' => out += "\\t",
                other => out.push(other),
            }
        }
        out + "\""
    };
    let (long, short) = (quoted(text(random, 12_000)), quoted(text(random, 20)));
    let number = random.random_range(-1e6..1e6_f64);
    let again = if twice { "  , \"k\" :  true" } else { "" };
    format!("{{\"k\": {long}, {short}: [null, {number}, {{\"z\": \"\\u00fc\"}}]{again}}}")
}

/// Elements around text.
pub fn xml(random: &mut StdRng) -> String {
    format!(
        "<r><v n=\"{}\">{}</v><!-- ü --></r>",
        random.random::<u16>(),
        words(random).repeat(random.random_range(1..900))
    )
}

/// A place in the log.
pub fn lsn(random: &mut StdRng) -> String {
    format!("{:X}/{:X}", random.random::<u32>(), random.random::<u32>())
}

/// What a transaction sees.
pub fn snapshot(random: &mut StdRng) -> String {
    let low = random.random_range(1..1_000_000_u64);
    format!("{low}:{}:{low},{}", low + 50, low + 7)
}

/// Numbers with spaces between.
pub fn integers(random: &mut StdRng, min: i64, max: i64) -> String {
    (0..random.random_range(1..9)).map(|_| random.random_range(min..=max).to_string()).collect::<Vec<_>>().join(" ")
}

/// Points with commas between.
pub fn path(random: &mut StdRng) -> String {
    let points = 0..random.random_range(1..200);
    points.map(|_| format!("({},{})", double(random), double(random))).collect::<Vec<_>>().join(",")
}

/// Words with places and weights.
pub fn vector(random: &mut StdRng) -> String {
    let n_words = if random.random_range(0..3) == 0 { 900 } else { 5 };
    let lexeme = |n: usize, random: &mut StdRng| {
        let places = format!("{}A,{}", random.random_range(1..99), random.random_range(100..16_000));
        format!("'w{}-{n}':{places}", random.random::<u16>())
    };
    (0..n_words).map(|n| lexeme(n, random)).collect::<Vec<_>>().join(" ")
}

/// Words with operators between.
pub fn query(random: &mut StdRng) -> String {
    let operator = ["&", "|", "<->", "<3>", "& !"];
    let mut query = format!("'w{}'", random.random::<u16>());
    for _ in 0..random.random_range(0..20) {
        query += &format!(" {} 'w{}':*A", operator[random.random_range(0..operator.len())], random.random::<u16>());
    }
    query
}

/// A range, or several; `bound` makes bounds that sort as their texts do.
pub fn pairs(random: &mut StdRng, bound: fn(&mut StdRng) -> String, several: bool) -> String {
    let mut bounds: Vec<String> = (0..if several { 6 } else { 2 }).map(|_| bound(random)).collect();
    bounds.sort();
    let ranges: Vec<String> = bounds.chunks(2).map(|pair| format!("[{},{})", pair[0], pair[1])).collect();
    if several { format!("{{{}}}", ranges.join(",")) } else { ranges.concat() }
}
