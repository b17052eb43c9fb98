//! A signing key, as GnuPG lists it.

/// A key that can sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its fingerprint, 40 hexadecimal digits.
    pub fingerprint: String,
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// When it expires, likewise.
    pub expires: Option<i64>,
}

/// The fingerprints of the keys in a listing of secret ones, but for those that were revoked.
pub fn secret(listing: &str) -> Vec<String> {
    let mut is_next = false;
    let fingerprint = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        match fields[0] {
            "sec" => is_next = fields.get(1) != Some(&"r"),
            "fpr" if is_next => {
                is_next = false;
                return fields.get(9).map(|digits| (*digits).to_string());
            }
            _ => {}
        }
        None
    };
    listing.lines().filter_map(fingerprint).collect()
}

/// The keys that can sign in a listing of GnuPG's (its doc/DETAILS).
pub fn listed(listing: &str) -> Vec<Key> {
    let mut blocks: Vec<Vec<Vec<&str>>> = Vec::new();
    for line in listing.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        match (fields[0], blocks.last_mut()) {
            ("sec" | "pub", _) => blocks.push(vec![fields]),
            (_, Some(block)) => block.push(fields),
            (_, None) => {}
        }
    }
    blocks.iter().filter_map(|block| key(block)).collect()
}

/// The key that the lines of one tell of, if it can sign.
fn key(block: &[Vec<&str>]) -> Option<Key> {
    let valid = |line: &[&str]| !matches!(line.get(1), Some(&("e" | "r" | "d" | "i" | "n")));
    let can = |line: &[&str], what| line.get(11).is_some_and(|all| all.contains(what));
    let time = |line: &[&str], index: usize| line.get(index).and_then(|text| text.parse().ok());
    let (primary, rest) = block.split_first()?;
    // A capital stands for the key with its subkeys.
    if !valid(primary) || !can(primary, 'S') {
        return None;
    }
    let mut expires = time(primary, 6);
    if !can(primary, 's') {
        let subkeys = rest
            .iter()
            .filter(|line| matches!(line[0], "ssb" | "sub") && valid(line) && can(line, 's'));
        // No subkey outlives its key.
        let ends = subkeys.map(|line| time(line, 6).or(expires));
        expires = ends.max_by_key(|end| end.unwrap_or(i64::MAX))?;
    }
    let fingerprint = rest.iter().find(|line| line[0] == "fpr")?.get(9)?;
    Some(Key {
        fingerprint: (*fingerprint).to_string(),
        created: time(primary, 5).unwrap_or(0),
        expires,
    })
}

/// The fingerprints of keys.
pub fn fingerprints(keys: &[Key]) -> Vec<String> {
    keys.iter().map(|key| key.fingerprint.clone()).collect()
}

/// A fingerprint in groups of four, for people.
pub fn spaced(fingerprint: &str) -> String {
    let digits: Vec<char> = fingerprint.chars().collect();
    let groups: Vec<String> = digits
        .chunks(4)
        .map(|group| group.iter().collect())
        .collect();
    groups.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_can_sign_are_found_in_a_listing() {
        let listing = "\
sec:u:4096:1:D444C837EB88CC25:1795600243:1858672243::u:::scSC:::+:::23::0:
fpr:::::::::2217570190761D7D2A7CB825D444C837EB88CC25:
grp:::::::::AAAA:
uid:u::::1795600243::BBBB::Test::::::::::0:
sec:e:4096:1:0000000000000001:1:2::u:::sc:::+:::23::0:
fpr:::::::::EXPIRED:
";
        assert_eq!(
            listed(listing),
            [Key {
                fingerprint: "2217570190761D7D2A7CB825D444C837EB88CC25".into(),
                created: 1795600243,
                expires: Some(1858672243),
            }]
        );
        // One that has expired has signed, and one that was revoked may be anybody's.
        let revoked =
            "sec:r:4096:1:0000000000000002:1:2::u:::sc:::+:::23::0:\nfpr:::::::::REVOKED:\n";
        assert_eq!(
            secret(&(listing.to_string() + revoked)),
            ["2217570190761D7D2A7CB825D444C837EB88CC25", "EXPIRED"]
        );
    }

    #[test]
    fn a_subkey_may_sign_for_a_key_and_says_until_when() {
        let listing = "\
pub:u:255:22:0000000000000001:1:90::u:::cSC:::+:::23::0:
fpr:::::::::FIRST:
uid:u::::1::BBBB::Test::::::::::0:
sub:e:255:22:0000000000000002:1:10:::::s:::+:::23:
fpr:::::::::ITS-EXPIRED:
sub:u:255:22:0000000000000003:1:70:::::s:::+:::23:
fpr:::::::::ITS-SIGNING:
sub:u:255:18:0000000000000004:1:80:::::e:::+:::23:
fpr:::::::::ITS-ENCRYPTING:
pub:u:255:22:0000000000000005:2:::u:::cC:::+:::23::0:
fpr:::::::::CERTIFIES-ONLY:
";
        assert_eq!(
            listed(listing),
            [Key {
                fingerprint: "FIRST".into(),
                created: 1,
                expires: Some(70),
            }]
        );
    }

    #[test]
    fn a_fingerprint_is_grouped() {
        assert_eq!(spaced("0123456789AB"), "0123 4567 89AB");
    }
}
