//! Variables of the environment that look like the program's and are not.
//!
//! A variable is reported if both hold: the part before its first `_` is a prefix of the program's variables, or one
//! slip away from one; and the whole name is close to a variable of the program. Variables of other programs, such as
//! `CLICOLOR` or `SERVER_NAME`, are not.

/// Names of at least this many characters may differ by two slips, shorter ones by one: `SERVER_HOST` is two slips from
/// `SERVER_PORT`, and another program's.
const LONG_NAME: usize = 12;
/// No variable of the programs is as long. It bounds the work for a name.
const NAME_BYTES_MAX: usize = 64;

/// The names of `names` that are misspelt names of `known`, each with the nearest one.
pub fn misspelt(names: impl IntoIterator<Item = String>, known: &[String]) -> Vec<(String, String)> {
    let mut found: Vec<_> =
        names.into_iter().filter_map(|name| nearest(&name, known).map(|meant| (name, meant))).collect();
    found.sort();
    found
}

/// A key of a file may differ by so many slips from the one that was meant. A file is the program's own, so that no other
/// program's names have to be told apart.
const KEY_SLIPS_MAX: usize = 3;

/// The key of `known` that `key` may be a misspelt name of. Capitals and small letters are alike.
pub fn nearest_key<'k>(key: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    if key.len() > NAME_BYTES_MAX {
        return None;
    }
    let key = key.to_ascii_uppercase();
    let near = known.into_iter().map(|other| (slips(&key, &other.to_ascii_uppercase()), other));
    near.filter(|(slips, _)| *slips <= KEY_SLIPS_MAX).min().map(|(_, meant)| meant)
}

fn nearest(name: &str, known: &[String]) -> Option<String> {
    if name.len() > NAME_BYTES_MAX || known.iter().any(|other| other == name) {
        return None;
    }
    let prefix = prefix(name)?;
    let is_ours = known.iter().filter_map(|other| self::prefix(other)).any(|ours| slips(prefix, ours) <= 1);
    let slips_max = if name.len() < LONG_NAME { 1 } else { 2 };
    let close = known.iter().map(|other| (slips(name, other), other)).filter(|(slips, _)| *slips <= slips_max);
    close.min().filter(|_| is_ours).map(|(_, meant)| meant.clone())
}

fn prefix(name: &str) -> Option<&str> {
    name.split_once('_').map(|(prefix, _)| prefix)
}

/// How many letters were added, left out, replaced or swapped with their neighbour (the optimal string alignment
/// distance).
fn slips(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (row, letter) in left.iter().enumerate() {
        let mut line = vec![row + 1];
        for (column, other) in right.iter().enumerate() {
            let replaced = above[column] + usize::from(letter != other);
            let mut least = replaced.min(above[column + 1] + 1).min(line[column] + 1);
            if row > 0 && column > 0 && *letter == right[column - 1] && left[row - 1] == *other {
                least = least.min(before[column - 1] + 1);
            }
            line.push(least);
        }
        before = std::mem::replace(&mut above, line);
    }
    above[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_counted() {
        for (left, right, count) in
            [("", "", 0), ("", "ab", 2), ("abc", "abc", 0), ("abc", "acb", 1), ("abcd", "bcd", 1), ("abc", "xyz", 3)]
        {
            assert_eq!((slips(left, right), slips(right, left)), (count, count), "{left} {right}");
        }
    }

    #[test]
    fn misspelt_variables_are_found_and_those_of_other_programs_are_not() {
        let client = crate::config::client::variables();
        let server = ["SERVER_PORT", "LOTTERY_AGENCIES", "STORAGE_PATH", "LIMITS_MAX_CONNECTIONS", "TLS_KEY"];
        let server = server.map(str::to_owned).to_vec();
        for (known, name, meant) in [
            (&client, "CLI_IDD", Some("CLI_ID")),
            (&client, "CLI_MDOE", Some("CLI_MODE")),
            (&client, "CIL_MODE", Some("CLI_MODE")),
            (&client, "CLI_BATCH_MAX_AMOUNT", Some("CLI_BATCH_MAXAMOUNT")),
            (&client, "CLI_SERVER_ADRES", Some("CLI_SERVER_ADDRESS")),
            (&client, "CLI_ID", None),
            (&client, "CLICOLOR", None),
            (&client, "CLICOLOR_FORCE", None),
            (&client, "CLI_WIDTH", None),
            (&client, "CLI_THEME", None),
            (&client, "NUMERO", None),
            (&server, "LOTERY_AGENCIES", Some("LOTTERY_AGENCIES")),
            (&server, "LOTTERY_AGENCYS", Some("LOTTERY_AGENCIES")),
            (&server, "LIMITS_MAX_CONECTIONS", Some("LIMITS_MAX_CONNECTIONS")),
            (&server, "SERVER_HOST", None),
            (&server, "SERVER_PORT", None),
            (&server, "SERVER_PORT_12345_TCP", None),
            (&server, "PATH", None),
            (&server, "SSL_KEY_FILE", None),
        ] {
            let expected: Vec<_> = meant.map(|meant| (name.to_owned(), meant.to_owned())).into_iter().collect();
            assert_eq!(misspelt([name.to_owned()], known), expected, "{name}");
        }
        assert!(misspelt(["CLI_".repeat(1000)], &client).is_empty());
    }
}
