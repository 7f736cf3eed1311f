//! Who may do what: access control entries as PostgreSQL writes them (`app=arw*/owner`).

use crate::catalog::Ident;

/// One entry of an access control list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AclItem {
    /// Who may; `None` is everybody.
    pub grantee: Option<Ident>,
    /// What, in the order of the entry.
    pub privileges: Vec<Privilege>,
    /// Who has granted it.
    pub grantor: Ident,
}

/// A privilege, and whether it may be granted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Privilege {
    /// Its word in GRANT.
    pub word: &'static str,
    /// WITH GRANT OPTION.
    pub grantable: bool,
}

/// Letters of `aclitem` and their words (PostgreSQL's documentation, "Privileges"); MAINTAIN since 17.
const WORDS: [(char, &str); 15] = [
    ('r', "SELECT"),
    ('a', "INSERT"),
    ('w', "UPDATE"),
    ('d', "DELETE"),
    ('D', "TRUNCATE"),
    ('x', "REFERENCES"),
    ('t', "TRIGGER"),
    ('X', "EXECUTE"),
    ('U', "USAGE"),
    ('C', "CREATE"),
    ('c', "CONNECT"),
    ('T', "TEMPORARY"),
    ('s', "SET"),
    ('A', "ALTER SYSTEM"),
    ('m', "MAINTAIN"),
];

impl AclItem {
    /// Reads an entry; `None` when it is of a form that this version does not know.
    pub fn parse(text: &str) -> Option<Self> {
        let (grantee, rest) = name(text)?;
        let rest = rest.strip_prefix('=')?;
        let end = rest.find('/')?;
        let mut privileges: Vec<Privilege> = Vec::new();
        for letter in rest[..end].chars() {
            if letter == '*' {
                let last = privileges.last_mut().filter(|last| !last.grantable)?;
                last.grantable = true;
                continue;
            }
            let (_, word) = WORDS.iter().find(|(known, _)| *known == letter)?;
            privileges.push(Privilege { word, grantable: false });
        }
        let (grantor, rest) = name(&rest[end + 1..])?;
        if !rest.is_empty() {
            return None;
        }
        let grantee = if grantee.is_empty() { None } else { Some(Ident::new(grantee).ok()?) };
        Some(Self { grantee, privileges, grantor: Ident::new(grantor).ok()? })
    }
}

/// A role's name at the beginning, in quotes where it has other characters than letters, digits and `_`.
fn name(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(['=', '/']).unwrap_or(text.len());
        return Some((text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut rest = quoted;
    loop {
        let end = rest.find('"')?;
        value.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(more) => {
                value.push('"');
                rest = more;
            }
            None => return Some((value, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(item: &AclItem) -> Vec<(&'static str, bool)> {
        item.privileges.iter().map(|one| (one.word, one.grantable)).collect()
    }

    #[test]
    fn entries_are_read() {
        let item = AclItem::parse("app=r*w/owner").unwrap();
        assert_eq!(item.grantee.as_ref().map(Ident::as_str), Some("app"));
        assert_eq!((words(&item), item.grantor.as_str()), (vec![("SELECT", true), ("UPDATE", false)], "owner"));
        let item = AclItem::parse("=U/\"o/w=n\"\"er\"").unwrap();
        assert_eq!((item.grantee.clone(), item.grantor.as_str()), (None, "o/w=n\"er"));
        assert_eq!(words(&item), [("USAGE", false)]);
        let item = AclItem::parse("\"a =\"=arwdDxtm/postgres").unwrap();
        assert_eq!(item.grantee.as_ref().map(Ident::as_str), Some("a ="));
        assert_eq!(item.privileges.len(), 8);
        assert_eq!(AclItem::parse("app=/owner").unwrap().privileges, []);
    }

    #[test]
    fn what_is_not_known_is_not_guessed() {
        for text in ["", "app", "app=r", "app=?/o", "app=*r/o", "app=r**/o", "\"app=r/o", "app=r/o/x", "app=r/"] {
            assert_eq!(AclItem::parse(text), None, "{text}");
        }
    }
}
