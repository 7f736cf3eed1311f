//! The built-in types that a column may have, and the values that each is tried with.

use rand::Rng;
use rand::rngs::StdRng;

use crate::random::{
    bits, bytes, double, integers, json, lsn, moment, network, numeric, pairs, path, query, single, snapshot, text,
    time, vector, words, xml,
};

/// How a type gets to the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Travels {
    /// Copied in its binary form where the whole table can be, else as text; streamed as text.
    Binary,
    /// Copied and streamed as text.
    Text,
    /// As text, which is the name of something that the target must have too.
    ByName,
    /// Refused: no server reads its text back.
    Refused,
    /// Refused where the target has no such type.
    Gone,
}

/// A type with its values.
#[derive(Debug, Clone, Copy)]
pub struct Type {
    /// `typname`, or a type as a column is declared with it.
    pub name: &'static str,
    /// Majors that have it, from 10 to 18.
    pub majors: (u32, u32),
    /// In the text form. `≥14 ` before a value: from that major on.
    pub values: &'static [&'static str],
    /// One more.
    pub random: fn(&mut StdRng) -> String,
    pub travels: Travels,
    /// A column of it can be a primary key.
    pub key: bool,
    /// It has no binary form, or one that holds numbers of the cluster's own.
    pub by_text: bool,
}

/// A type of every major that is carried as text and can be a key.
pub const fn ty(name: &'static str, values: &'static [&'static str], random: fn(&mut StdRng) -> String) -> Type {
    Type { name, majors: (10, 18), values, random, travels: Travels::Text, key: true, by_text: false }
}

impl Type {
    pub const fn since(self, major: u32) -> Self {
        Self { majors: (major, 18), ..self }
    }

    const fn until(self, major: u32) -> Self {
        Self { majors: (10, major), travels: Travels::Gone, ..self }
    }

    const fn binary(self) -> Self {
        Self { travels: Travels::Binary, ..self }
    }

    pub const fn no_key(self) -> Self {
        Self { key: false, ..self }
    }

    pub const fn by_text(self) -> Self {
        Self { by_text: true, ..self }
    }

    const fn by_name(self) -> Self {
        Self { travels: Travels::ByName, by_text: true, ..self }
    }

    /// The values that a server of this major takes.
    pub fn values_of(&self, major: u32) -> Vec<String> {
        let value = |text: &&str| match text.strip_prefix('≥') {
            None => Some((*text).to_owned()),
            Some(rest) => {
                let (since, value) = rest.split_once(' ').unwrap();
                (since.parse::<u32>().unwrap() <= major).then(|| value.to_owned())
            }
        };
        self.values.iter().filter_map(value).collect()
    }

    /// True when columns of it can be migrated from this major to that one.
    pub fn can_travel(&self, from: u32, to: u32) -> bool {
        let is_there = |major: u32| (self.majors.0..=self.majors.1).contains(&major);
        self.travels != Travels::Refused && is_there(from) && is_there(to)
    }
}

pub const fn refused(name: &'static str, since: u32) -> Type {
    let nothing = ty(name, &[], |_| String::new()).no_key();
    Type { travels: Travels::Refused, majors: (since, 18), ..nothing }
}

fn one_of(random: &mut StdRng, of: &[&str]) -> String {
    of[random.random_range(0..of.len())].to_owned()
}

/// Every base, range and multirange type of `pg_catalog`.
pub const BUILTIN: &[Type] = &[
    ty("abstime", &["1970-01-01 00:00:00+00", "infinity", "-infinity"], |r| moment(r, "+00")).until(11),
    ty("aclitem", &["postgres=r/postgres", "=/postgres", "postgres=a*r*w*d*D*x*t*/postgres"], |r| {
        format!("postgres={}/postgres", one_of(r, &["a", "ar", "r*", "arw", "d", "Dx", "tr"]))
    })
    .by_name()
    .no_key(),
    ty("bit", &["0", "1"], |r| bits(r, 1, 1)).binary(),
    ty("bool", &["f", "t"], |r| one_of(r, &["t", "f"])).binary(),
    ty("box", &["(0,0),(0,0)", "(Infinity,1e300),(-0,-Infinity)", "(3,4),(1,2)"], |r| {
        format!("({},{}),({},{})", double(r), double(r), double(r), double(r))
    })
    .no_key(),
    // Without a length it is as long as its value.
    ty("bpchar", &["", "a", "a  ", "ßÄö  "], |r| text(r, 60)).binary(),
    ty("bytea", &["", r"\x00", r"\x5c2e0a", r"\xdeadbeef00ff", r"\x5c785c"], bytes).binary(),
    ty("char", &["", "a", r"\", " ", "'"], |r| char::from(r.random_range(33..127_u8)).to_string()).binary(),
    ty("cid", &["0", "1", "4294967295"], |r| r.random::<u32>().to_string()).no_key(),
    ty("cidr", &["0.0.0.0/0", "::/0", "10.0.0.0/8", "255.255.255.255/32", "ffff::/16"], |r| network(r, true)).binary(),
    ty("circle", &["<(0,0),0>", "<(0.1,-0.2),3>", "<(-Infinity,1e-300),1e300>"], |r| {
        format!("<({},{}),{}>", double(r), double(r), double(r).trim_start_matches('-'))
    })
    .no_key(),
    ty(
        "date",
        &["2000-01-01", "infinity", "-infinity", "4714-11-24 BC", "5874897-12-31", "0001-12-31 BC", "2024-02-29"],
        |r| moment(r, "").replacen(' ', "#", 1).split('#').next().unwrap().to_owned(),
    )
    .binary(),
    ty("datemultirange", &["{}", "{[2020-01-01,infinity)}", "{(,2020-01-01),[2021-01-01,2021-02-01)}"], |r| {
        pairs(r, |r| format!("{}-01-01", r.random_range(1000..9999)), true)
    })
    .since(14),
    ty("daterange", &["empty", "(,)", "[2020-01-01,infinity)", "[4714-11-24 BC,5874897-12-31)"], |r| {
        pairs(r, |r| format!("{}-01-01", r.random_range(1000..9999)), false)
    }),
    ty(
        "float4",
        &["0", "-0", "NaN", "Infinity", "-Infinity", "1e-45", "-3.4028235e38", "0.1", "16777217", "1.17549435e-38"],
        single,
    )
    .binary(),
    ty(
        "float8",
        &[
            "0",
            "-0",
            "NaN",
            "Infinity",
            "-Infinity",
            "5e-324",
            "-1.7976931348623157e308",
            "0.1",
            "0.30000000000000004",
            "2.2250738585072014e-308",
            "9007199254740993",
        ],
        double,
    )
    .binary(),
    refused("gtsvector", 10),
    ty(
        "inet",
        &["0.0.0.0", "0.0.0.0/0", "192.168.0.1/24", "::ffff:1.2.3.4/128", "fe80::1", "::", "255.255.255.255"],
        |r| network(r, false),
    )
    .binary(),
    ty("int2", &["0", "-32768", "32767"], |r| r.random::<i16>().to_string()).binary(),
    ty("int2vector", &["", "0", "-32768 32767 0"], |r| integers(r, -32_768, 32_767)).no_key(),
    ty("int4", &["0", "-2147483648", "2147483647"], |r| r.random::<i32>().to_string()).binary(),
    ty("int4multirange", &["{}", "{(,)}", "{(,1),[5,6),[10,)}"], |r| {
        pairs(r, |r| format!("{:010}", r.random_range(1..i32::MAX)), true)
    })
    .since(14),
    ty("int4range", &["empty", "(,)", "[1,10)", "(,5]", "[-2147483648,2147483646]"], |r| {
        pairs(r, |r| format!("{:010}", r.random_range(1..i32::MAX)), false)
    }),
    ty("int8", &["0", "-9223372036854775808", "9223372036854775807"], |r| r.random::<i64>().to_string()).binary(),
    ty("int8multirange", &["{}", "{(,1),[5,6),[10,)}"], |r| {
        pairs(r, |r| format!("{:019}", r.random_range(1..i64::MAX)), true)
    })
    .since(14),
    ty("int8range", &["empty", "(,)", "[-9223372036854775808,9223372036854775806]"], |r| {
        pairs(r, |r| format!("{:019}", r.random_range(1..i64::MAX)), false)
    }),
    ty(
        "interval",
        &[
            "0",
            "1 month -1 day 25:00:00",
            "-1 year 2 mons -3 days 04:05:06.000007",
            "178000000 years",
            "-178000000 years",
            "1 day",
            "24 hours",
            "-00:00:00.000001",
            "≥17 infinity",
            "≥17 -infinity",
        ],
        |r| {
            let (months, days) = (r.random_range(-9_999..9_999), r.random_range(-99_999..99_999));
            format!(
                "{months} months {days} days {}:{}",
                r.random_range(-999_999_999..999_999_999),
                time(r).split_once(':').unwrap().1
            )
        },
    )
    .binary(),
    ty(
        "json",
        &[r#"{"a": 1, "a": 2,   "b":[]}"#, "null", r#""\u00e9\ud83d\ude00""#, "1e400", r#""\u0000""#, " {} ", "\"\""],
        |r| json(r, true),
    )
    .binary()
    .no_key(),
    ty(
        "jsonb",
        &[
            r#"{"a": 1, "b": [null, 1.10, 1e2], "": ""}"#,
            "null",
            "0",
            r#""\\ \" \n""#,
            "12345678901234567890.0123456789",
            "{}",
            "[]",
            "1e-1000",
        ],
        |r| json(r, false),
    )
    .binary(),
    ty("jsonpath", &["$", "$.a[*] ? (@ > 1)", r#"strict $."x y".size()"#], |r| {
        format!("$.k{}[{} to last]", r.random_range(0..99), r.random_range(0..99))
    })
    .since(12)
    .no_key(),
    ty("line", &["{1,-1,0.1}", "{0,1,0}", "{-1,0,1e300}"], |r| format!("{{{},1,{}}}", double(r), double(r))).no_key(),
    ty("lseg", &["[(0,0),(0,0)]", "[(-0,NaN),(1e300,-1e300)]"], |r| {
        format!("[({},{}),({},{})]", double(r), double(r), double(r), double(r))
    })
    .no_key(),
    ty("macaddr", &["00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "08:00:2b:01:02:03"], |r| {
        format!("{:012x}", r.random::<u64>() >> 16)
    })
    .binary(),
    ty("macaddr8", &["00:00:00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff:ff:ff"], |r| format!("{:016x}", r.random::<u64>()))
        .binary(),
    ty("money", &["0", "0.01", "-92233720368547758.08", "92233720368547758.07"], |r| {
        format!("{}.{:02}", r.random_range(-9_999_999_999_i64..9_999_999_999), r.random_range(0..100))
    }),
    ty("name", &["", "n23456789012345678901234567890123456789012345678901234567890123", r"a\b'c", "ÜÄ 😀"], |r| {
        words(r)
    })
    .binary(),
    ty(
        "numeric",
        &[
            "0",
            "0.000",
            "NaN",
            "≥14 Infinity",
            "≥14 -Infinity",
            "1e-1000",
            "-1e1000",
            "1.50",
            "1.5",
            "1e131071",
            "1e-16383",
            "-0.00",
        ],
        numeric,
    )
    .binary(),
    ty("nummultirange", &["{}", "{[1.0,2.00)}", "{(,1),[1.50,1.5]}"], |r| {
        pairs(r, |r| format!("1{:05}.{}", r.random_range(0..99_999), r.random_range(0..999)), true)
    })
    .since(14),
    ty("numrange", &["empty", "(,)", "[1.50,1.5]", "≥14 (-Infinity,NaN]"], |r| {
        pairs(r, |r| format!("1{:05}.{}", r.random_range(0..99_999), r.random_range(0..999)), false)
    }),
    ty("oid", &["0", "1", "4294967295"], |r| r.random::<u32>().to_string()).binary(),
    ty("oidvector", &["", "0", "4294967295 0 1"], |r| integers(r, 0, 4_294_967_295)),
    ty("path", &["[(0,0),(1,1),(2,0)]", "((0,0),(1,1))", "((-0,NaN))"], |r| format!("[{}]", path(r))).no_key(),
    refused("pg_brin_bloom_summary", 14),
    refused("pg_brin_minmax_multi_summary", 14),
    refused("pg_dependencies", 10),
    ty("pg_lsn", &["0/0", "FFFFFFFF/FFFFFFFF", "0/1"], lsn).binary(),
    refused("pg_mcv_list", 12),
    refused("pg_ndistinct", 10),
    refused("pg_node_tree", 10),
    ty("pg_snapshot", &["10:10:", "10:20:10,14,15"], snapshot).since(13).no_key(),
    ty("point", &["(0,0)", "(-0,Infinity)", "(NaN,1e-300)", "(0.1,0.30000000000000004)"], |r| {
        format!("({},{})", double(r), double(r))
    })
    .no_key(),
    ty("polygon", &["((0,0))", "((0,0),(1,1),(2,0))"], |r| format!("({})", path(r))).no_key(),
    ty("refcursor", &["", "a cursor", r"\N"], words).no_key(),
    ty("regclass", &["pg_class", "0", "pg_toast.pg_toast_1255", "999999999"], |r| {
        one_of(r, &["pg_type", "pg_proc", "pg_database"])
    })
    .by_name(),
    ty("regcollation", &["\"C\"", "\"default\"", "0"], |r| one_of(r, &["\"POSIX\"", "\"C\""])).since(13).by_name(),
    ty("regconfig", &["simple", "english", "0"], |r| one_of(r, &["german", "french"])).by_name(),
    ty("regdictionary", &["simple", "english_stem", "0"], |r| one_of(r, &["german_stem", "french_stem"])).by_name(),
    ty("regnamespace", &["pg_catalog", "information_schema", "0"], |r| one_of(r, &["pg_toast", "public"])).by_name(),
    ty("regoper", &["0", "||/"], |r| one_of(r, &["||/", "|/"])).by_name(),
    ty("regoperator", &["+(integer,integer)", "-(none,integer)", "0"], |r| {
        one_of(r, &["=(text,text)", "*(double precision,double precision)"])
    })
    .by_name(),
    ty("regproc", &["now", "0", "boolin"], |r| one_of(r, &["textin", "int4out"])).by_name(),
    ty("regprocedure", &["now()", "length(text)", "0"], |r| one_of(r, &["abs(integer)", "abs(bigint)"])).by_name(),
    ty("regrole", &["postgres", "pg_monitor", "0"], |r| one_of(r, &["pg_signal_backend", "pg_read_all_stats"]))
        .by_name(),
    ty("regtype", &["integer", "text[]", "\"char\"", "0"], |r| one_of(r, &["numeric", "timestamp with time zone"]))
        .by_name(),
    ty("reltime", &["1 day"], |r| format!("{} seconds", r.random_range(0..999_999))).until(11),
    ty("smgr", &["magnetic disk"], |_| "magnetic disk".to_owned()).until(11),
    ty(
        "text",
        &[
            "",
            " ",
            r"\",
            r"\\",
            r"\N",
            r"\.",
            "a\n\\.\nb",
            "\t",
            "\r",
            "\r\n",
            "\u{8}\u{c}\u{b}\u{1}\u{7f}",
            "NULL",
            "'quoted'",
            "\"",
            "😀🇩🇪",
            "e\u{301}",
            "\u{200f}\u{feff}\u{10ffff}",
            "{\"a\",NULL}",
            "$1",
            "%s';--",
        ],
        |r| text(r, 12_000),
    )
    .binary(),
    ty("tid", &["(0,0)", "(4294967295,65535)"], |r| format!("({},{})", r.random::<u32>(), r.random::<u16>())),
    ty("time", &["00:00:00", "24:00:00", "00:00:00.000001", "23:59:59.999999"], time).binary(),
    ty(
        "timestamp",
        &[
            "2000-01-01 00:00:00",
            "infinity",
            "-infinity",
            "4714-11-24 00:00:00 BC",
            "294276-12-31 23:59:59.999999",
            "1999-12-31 24:00:00",
        ],
        |r| moment(r, ""),
    )
    .binary(),
    ty(
        "timestamptz",
        &[
            "2000-01-01 00:00:00+00",
            "infinity",
            "-infinity",
            "4714-11-24 00:00:00+00 BC",
            "294276-12-31 23:59:59.999999+00",
            "2024-03-31 01:59:59.5+00",
        ],
        |r| moment(r, "+00"),
    )
    .binary(),
    ty("timetz", &["00:00:00+00", "24:00:00+15:59", "00:00:00-15:59:59"], |r| format!("{}+05:30", time(r))).binary(),
    ty("tinterval", &["[\"2000-01-01 00:00:00+00\" \"2001-01-01 00:00:00+00\"]"], |_| {
        "[\"2001-01-01 00:00:00+00\" \"2002-01-01 00:00:00+00\"]".to_owned()
    })
    .until(11),
    ty("tsmultirange", &["{}", "{[2020-01-01 00:00:00,infinity)}"], |r| {
        pairs(r, |r| format!("{}-01-01 00:00:00.5", r.random_range(1000..9999)), true)
    })
    .since(14),
    ty("tsquery", &["", "'a' & !( 'b' | 'c':* ) <2> 'd'", "'it''s':AB"], query),
    ty("tsrange", &["empty", "(,)", "[-infinity,infinity]"], |r| {
        pairs(r, |r| format!("{}-01-01 00:00:00.5", r.random_range(1000..9999)), false)
    }),
    ty("tstzmultirange", &["{}", "{[2020-01-01 00:00:00+00,infinity)}"], |r| {
        pairs(r, |r| format!("{}-01-01 00:00:00.5+00", r.random_range(1000..9999)), true)
    })
    .since(14),
    ty("tstzrange", &["empty", "(,)", "[-infinity,infinity)", "[,2020-01-01 00:00:00+00)"], |r| {
        pairs(r, |r| format!("{}-01-01 00:00:00.5+00", r.random_range(1000..9999)), false)
    }),
    ty("tsvector", &["", "'a':1A,2B 'b' 'it''s':3 '\"'", r"'\\'", "'a':16383"], vector),
    ty("txid_snapshot", &["10:10:", "10:20:10,14,15"], snapshot).no_key(),
    ty("uuid", &["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"], |r| {
        format!("{:032x}", r.random::<u128>())
    })
    .binary(),
    ty("varbit", &["", "1", "0000000000000000000000000000000000000001"], |r| bits(r, 0, 9_000)).binary(),
    ty("varchar", &["", "a  ", r"\.", "ßÄ "], |r| text(r, 300)).binary(),
    ty("xid", &["0", "3", "4294967295"], |r| r.random::<u32>().to_string()).no_key(),
    ty("xid8", &["0", "18446744073709551615"], |r| r.random::<u64>().to_string()).since(13),
    ty("xml", &["<a b=\"1\">&lt;</a>", "text <b/> more", ""], xml).no_key(),
];

/// Built-in types with a length, a precision or fields, and the domains that every database has.
pub const DECLARED: &[Type] = &[
    ty("numeric(12,4)", &["0", "-99999999.9999", "NaN"], |r| {
        format!("{}.{}", r.random_range(-99_999_999..99_999_999), r.random_range(0..9_999))
    })
    .binary(),
    ty("numeric(1000,500)", &["1e499", "1e-500", "NaN"], |r| format!("{}e-400", r.random::<u64>())).binary(),
    ty("varchar(3)", &["", "ßÄ ", "a  "], |r| text(r, 3)).binary(),
    ty("char(5)", &["", "a", "ßÄö  ", r"\."], |r| text(r, 5)).binary(),
    ty("bit(5)", &["00000", "10101", "11111"], |r| bits(r, 5, 5)).binary(),
    ty("bit varying(9)", &["", "101010101"], |r| bits(r, 0, 9)).binary(),
    ty("timestamp(0)", &["2000-01-01 00:00:00", "infinity"], |r| moment(r, "")).binary(),
    ty("timestamptz(3)", &["2000-01-01 00:00:00.001+00", "-infinity"], |r| moment(r, "+00")).binary(),
    ty("time(2)", &["00:00:00.01", "24:00:00"], time).binary(),
    ty("timetz(1)", &["00:00:00.1-15:59"], |r| format!("{}-03", time(r))).binary(),
    ty("interval year to month", &["0", "-3 years 2 months"], |r| format!("{} months", r.random_range(-999..999)))
        .binary(),
    ty("interval second(2)", &["0", "12.34"], |r| format!("{}.25", r.random_range(0..60))).binary(),
    ty("information_schema.cardinal_number", &["0", "2147483647"], |r| r.random_range(0..i32::MAX).to_string()),
    ty("information_schema.character_data", &["", "a "], |r| text(r, 40)),
    // Before, it had any length, and it is refused.
    ty("information_schema.sql_identifier", &["", "a b"], words).since(12),
    ty("information_schema.time_stamp", &["2000-01-01 00:00:00+00", "infinity"], |r| moment(r, "+00")),
    ty("information_schema.yes_or_no", &["YES", "NO"], |r| one_of(r, &["YES", "NO"])),
];
