//! Amounts in Chinese numerals, in everyday and in financial characters: `五十元`, `三万五千块`, `壹佰贰拾圆`, `5万元`.

use rust_decimal::Decimal;

/// What counts money, behind a number.
const MONEY: [char; 5] = ['元', '块', '圆', '円', '塊'];

/// The amounts in a text that are followed by a word for money.
pub(super) fn amounts(text: &str) -> impl Iterator<Item = Decimal> + '_ {
    let runs = text.split(|c: char| !is_part(c) && !MONEY.contains(&c) && c != '美' && c != '欧' && c != '日');
    runs.flat_map(|run| run.match_indices(|c| MONEY.contains(&c)).map(|(at, _)| run.split_at(at).0).collect::<Vec<_>>())
        .filter_map(|before| {
            let before = before.trim_end_matches(['美', '欧', '日']);
            let start =
                before.rfind(|c: char| !is_part(c)).map_or(0, |at| at + before.get(at..).map_or(0, first_length));
            number(before.get(start..)?)
        })
}

fn first_length(text: &str) -> usize {
    text.chars().next().map_or(0, char::len_utf8)
}

fn is_part(c: char) -> bool {
    digit(c).is_some() || unit(c).is_some() || c.is_ascii_digit() || c == '.'
}

fn digit(c: char) -> Option<u64> {
    let groups = ["零〇", "一壹", "二贰貳两兩", "三叁參", "四肆", "五伍", "六陆陸", "七柒", "八捌", "九玖"];
    groups.iter().zip(0..).find_map(|(group, value)| group.contains(c).then_some(value))
}

fn unit(c: char) -> Option<u64> {
    let groups = [("十拾", 10), ("百佰", 100), ("千仟", 1000), ("万萬", 10_000), ("亿億", 100_000_000)];
    groups.iter().find_map(|(group, value)| group.contains(c).then_some(*value))
}

/// The number in numerals alone, with at least one Chinese one: those in figures are read elsewhere.
fn number(text: &str) -> Option<Decimal> {
    if text.is_empty() || text.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return None;
    }
    // `5万`, `1.5万`: figures before a unit.
    let figures = text.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|at| *at > 0);
    if let Some(at) = figures {
        let (figures, units) = text.split_at(at);
        let units = units.chars().try_fold(1u64, |all, c| all.checked_mul(unit(c)?))?;
        return Some((Decimal::from_str_exact(figures).ok()?.checked_mul(Decimal::from(units))?).normalize());
    }
    let (mut whole, mut below, mut last) = (0u64, 0u64, None::<u64>);
    for c in text.chars() {
        if let Some(value) = digit(c) {
            // Digits one after the other are a telephone's or a year's, but for a zero that stands for a gap.
            if last.is_some_and(|last| last != 0) {
                return None;
            }
            last = Some(value);
            continue;
        }
        let unit = unit(c)?;
        if unit < 10_000 {
            below = below.checked_add(last.take().unwrap_or(1).checked_mul(unit)?)?;
        } else {
            let all = whole.checked_add(below)?.checked_add(last.take().unwrap_or(0))?;
            whole = all.checked_mul(unit)?;
            below = 0;
        }
    }
    Some(Decimal::from(whole.checked_add(below)?.checked_add(last.unwrap_or(0))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_they_are_said() {
        for (text, expected) in [
            ("请给张伟转五十元", &[50][..]),
            ("转账三万五千块钱给她", &[35_000]),
            ("壹佰贰拾圆整", &[120]),
            ("十二元和两百美元", &[12, 200]),
            ("5万元, 一亿零三百元", &[50_000, 100_000_300]),
            ("一千零五元", &[1005]),
            ("二百人, 五十个", &[]),
            ("一二三四元", &[]),
            ("公元前, 元旦", &[]),
            ("50元", &[]),
        ] {
            let found: Vec<Decimal> = amounts(text).collect();
            assert_eq!(found, expected.iter().map(|n| Decimal::from(*n)).collect::<Vec<_>>(), "{text}");
        }
    }
}
