//! Counts in messages for people.

use std::fmt;

/// A number with what it counts: `1 entry`, `0 entries`, `2 entries`.
pub fn counted<N: fmt::Display + PartialEq + From<u8>>(number: N, one: &str, many: &str) -> String {
    let noun = if number == N::from(1) { one } else { many };
    format!("{number} {noun}")
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn one_is_singular_and_all_else_is_not() {
        let said = [0_u64, 1, 2, 21].map(|number| counted(number, "entry", "entries"));
        assert_eq!(said, ["0 entries", "1 entry", "2 entries", "21 entries"]);
    }
}
