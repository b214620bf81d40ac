use super::*;

fn occurs(ty: Type, value: &str, text: &Text) -> bool {
    Needle::new(ty, value).is_in(text)
}

const STANDING: &[(Type, &str, &str)] = &[
    (Type::Money, "98.7", "pay 98.70 now"),
    (Type::Money, "98.70", "Pay £98.7."),
    (Type::Money, "1000", "send 1,000.00 to her"),
    (Type::Money, "1000.00", "send 1.000,00 €"),
    (Type::Money, "1000", "send 1'000"),
    (Type::Money, "2200", "rent is 2200. Also"),
    (Type::Money, "12", "We spent 12.00 in total"),
    (Type::Money, "12.5", "es kostet 12,5 Euro"),
    (Type::Money, "1234567", "1,234,567"),
    (Type::Money, "50", "转账５０元"),
    (Type::Date, "2022-04-01", "on 1 April 2022"),
    (Type::Date, "2022-04-01", "by April 1, 2022!"),
    (Type::Date, "2022-04-01", "date: 2022-04-01"),
    (Type::Date, "2025-01-11", "from January 11th to January 15th 2025"),
    (Type::Date, "2025-01-15", "from 11 Jan to 15 Jan 2025"),
    (Type::Account, "GB29NWBK60161331926819", "from their account GB29NWBK60161331926819), but"),
    (Type::Account, "GB29NWBK60161331926819", "IBAN gb29 NWBK 6016 1331 9268 19."),
    (Type::Account, "GB29 NWBK 6016 1331 9268 19", "to GB29NWBK60161331926819"),
    (Type::Account, "Spotify", "Spotify sent me a note"),
    (Type::Account, "Apple", "APPLE called and said"),
    (Type::Text, "1j1l-2k3j", "update the password to '1j1l-2k3j'."),
    (Type::Text, "1234 Elm Street", "address: 1234 Elm  Street, New York, NY 10001 and"),
    (Type::Text, "New York, NY 10001", "address: 1234 Elm Street, New York, NY 10001 and"),
    (Type::Email, "Ann@Example.com", "mail ann@example.com."),
    (Type::Url, "https://example.com/a/", "see https://example.com/a, then"),
    (Type::Identifier, "7", "change transaction 7"),
    (Type::Identifier, "7", "change no. 7, please"),
    (Type::Identifier, "7", "room #7"),
    (Type::Identifier, "Ab3-x", "order Ab3-x."),
    (Type::Identifier, "1j1l-2k3j", "update the password to '1j1l-2k3j'."),
    (Type::Money, "50", "pay 50EUR or so"),
    (Type::Money, "50", "pay USD50"),
    (Type::Money, "50", "pay 50 € now"),
    (Type::Money, "50", "pay £50!"),
    (Type::Money, "10", "refund that 10.00 I just got"),
    (Type::Money, "1234567.5", "1.234.567,50"),
    (Type::Money, "100000", "₹1,00,000"),
    (Type::Money, "0.125", "0.125 BTC"),
    (Type::Money, "1100", "my rent for June: 1100"),
    (Type::Money, "10", "10, 20 or 30"),
    (Type::Money, "30", "10, 20 or 30"),
    (Type::Integer, "3", "the last 3 of them"),
    (Type::Date, "2022-04-01", "on the 1st of April 2022"),
    (Type::Date, "2022-04-01", "April 1st, 2022"),
    (Type::Date, "2022-04-01", "am 1.4.2022"),
    (Type::Date, "2022-04-01", "2022年4月1日付款"),
    (Type::Date, "2022-04-13", "by 13/04/2022"),
    (Type::Date, "2022-04-13", "by 4/13/2022"),
    (Type::Account, "Ann", "pay Ann's invoice"),
    (Type::Account, "张伟", "请转账50元给张伟"),
    (Type::Account, "12345678", "account 12-34-56-78"),
    (Type::Account, "GB29NWBK60161331926819", "给GB29NWBK60161331926819转账"),
    (Type::Email, "ann@example.com", "<mailto:ann@example.com>, bob@example.com"),
    (Type::Email, "ann@example.com", "请发给ann@example.com。"),
    (Type::Url, "https://Example.com/A?b=1", "open https://example.COM/A?b=1."),
    (Type::Url, "https://example.com/a", "see (example.com/a)"),
    (Type::Text, "ｱﾊﾟｰﾄ", "my アパート"),
];

#[test]
fn values_stand_in_texts_in_the_forms_people_use() {
    for (ty, value, text) in STANDING {
        assert!(occurs(*ty, value, &Text::new(text)), "{value} in {text}");
    }
}

const NOT_STANDING: &[(Type, &str, &str)] = &[
    (Type::Money, "4.00", "id: 41"),
    (Type::Money, "10", "in 2010"),
    (Type::Money, "4", "on 2022-04-01"),
    (Type::Money, "2022", "on 2022-04-01"),
    (Type::Money, "10", "increased 10% this month"),
    (Type::Money, "19.5", "an additional 19.5% of"),
    (Type::Money, "29", "GB29NWBK60161331926819"),
    (Type::Money, "6", "version 1.6.2"),
    (Type::Money, "12", "at 12:30"),
    (Type::Money, "5", "room #5"),
    (Type::Money, "1", "1.5"),
    (Type::Money, "5.29", "5.290,00"),
    (Type::Date, "2022-04-01", "on 2022-04-012"),
    (Type::Account, "GB29NWBK60161331926819", "GB29NWBK601613319268190"),
    (Type::Account, "GB29NWBK60161331926819", "XGB29NWBK60161331926819"),
    (Type::Account, "US133000000121212121212", "GB29NWBK60161331926819"),
    (Type::Account, "12345678", "1 2345 and 678"),
    (Type::Account, "Apple", "pineapple juice"),
    (Type::Text, "Elm", "Elmer Street"),
    (Type::Text, "", "anything"),
    (Type::Text, "new_password", "new password"),
    (Type::Email, "ann@example.com", "joann@example.com"),
    (Type::Email, "ann@example.com", "ann@example.com.evil.org"),
    (Type::Url, "https://example.com", "https://example.com.evil.org/"),
    (Type::Url, "https://example.com/a", "https://example.com/abc"),
    (Type::Identifier, "7", "7.5 percent and 17"),
    (Type::Boolean, "true", "is it true"),
    (Type::Money, "4.00", "transaction id: 4a"),
    (Type::Money, "1", "on 1 April 2022"),
    (Type::Money, "2022", "my spending in March 2022"),
    (Type::Money, "2022", "April 1, 2022"),
    (Type::Money, "1", "the 1 of April"),
    (Type::Money, "142022", "on 1.4.2022"),
    (Type::Money, "19", "GB29 NWBK 6016 1331 9268 19"),
    (Type::Money, "6016", "GB29 NWBK 6016 1331 9268 19"),
    (Type::Money, "1111", "card 4111 1111 1111 1111"),
    (Type::Money, "300", "12 300 Euro"),
    (Type::Money, "30", "+49 30 1234567"),
    (Type::Money, "19216811", "192.168.1.1"),
    (Type::Money, "1", "es kostet 1.000 Euro"),
    (Type::Money, "5", "within 5 days"),
    (Type::Money, "10", "10 percent more"),
    (Type::Money, "10", "10 % more"),
    (Type::Money, "7", "at 7 pm"),
    (Type::Money, "3", "x=3&y=4"),
    (Type::Money, "4", "4月1日"),
    (Type::Money, "50", "50k"),
    (Type::Money, "-5", "pay -5"),
    (Type::Money, "1e3", "pay 1e3"),
    (Type::Money, "007", "pay 007"),
    (Type::Identifier, "7", "send £7 to Ann"),
    (Type::Identifier, "7", "send 7 euros to Ann"),
    (Type::Identifier, "1", "on 1 April 2022"),
    (Type::Identifier, "ab3", "order AB3"),
    (Type::Identifier, "2k3j", "password 1j1l-2k3j"),
    (Type::Date, "2022-01-11", "on 1 January 2022"),
    (Type::Date, "2022-04-01", "on 01/04/2022"),
    (Type::Date, "2022-04-01", "21 April 2022"),
    (Type::Date, "2022-04-01", "1 April"),
    (Type::Date, "2025-01-11", "from January 11th to January 15th 2025, not 2026"),
    (Type::Date, "2026-01-11", "from January 11th to January 15th 2025"),
    (Type::Email, "Ann", "invite Ann"),
    (Type::Url, "Ann", "visit Ann"),
    (Type::Account, "GB29NWBK60161331926819", "GB29 NWBK 6016 1331 9268 19 22"),
    (Type::Account, "ＧB29NWBK60161331926819", "GB29NWBK60161331926819"),
    (Type::Account, "GB29\u{200B}NWBK60161331926819", "GB29NWBK60161331926819"),
    (Type::Account, "50", "pay 50 EUR"),
    (Type::Account, "Ann", "Joanne"),
    (Type::Email, "ann@example.com", "x+ann@example.com"),
    (Type::Email, "ann@example.com", "ann@example.co"),
    (Type::Url, "https://example.com/a", "https://example.com/A"),
    (Type::Url, "http://example.com/a", "example.com/a"),
    (Type::Url, "https://evil.example", "https://good.example@evil.example"),
    (Type::Url, "https://example.com/a", "https://example.com/a?b"),
    (Type::Text, "York", "New Yorkshire"),
];

#[test]
fn values_do_not_stand_in_texts_by_accident() {
    for (ty, value, text) in NOT_STANDING {
        assert!(!occurs(*ty, value, &Text::new(text)), "{value} in {text}");
    }
}

#[test]
fn equal_values_are_the_same_in_other_spellings() {
    assert!(same(Type::Money, "98.7", "98.70"));
    assert!(!same(Type::Money, "98.7", "98.71"));
    assert!(same(Type::Account, "gb29 nwbk 6016", "GB29NWBK6016"));
    assert!(!same(Type::Account, "1,2", "12"), "two accounts are not one");
    assert!(!same(Type::Account, "GB29,NWBK6016", "GB29NWBK6016"));
    assert!(!same(Type::Identifier, "abc", "ABC"));
    assert!(!same(Type::Text, "", ""));
    assert!(same(Type::Url, "https://A.example/", "https://a.example"));
    assert!(!same(Type::Url, "https://a.example/X", "https://a.example/x"));
    assert!(!same(Type::Integer, "x", "x"));
}

proptest::proptest! {
    #[test]
    fn no_text_panics(value in ".{0,30}", text in ".{0,120}") {
        for ty in [Type::Money, Type::Date, Type::Account, Type::Url, Type::Text] {
            let _ = occurs(ty, &value, &Text::new(&text));
        }
    }
}

#[test]
fn values_have_one_spelling_in_requests() {
    for good in ["0", "7", "98.70", "-5", "0.01", "1000000"] {
        assert!(decimal(good).is_some(), "{good}");
    }
    for bad in ["", "-", "-0", "-0.0", "007", "+5", ".5", "5.", "1_000", "1,000", "1e3", " 5", "٥", "５", "0x5", "NaN"]
    {
        assert!(decimal(bad).is_none(), "{bad}");
    }
    for bad in ["2022-4-1", "20220401", "2022-02-30", "2022-04-01T00:00", "01.04.2022", "２022-04-01"] {
        assert!(date(bad).is_none(), "{bad}");
    }
}

#[test]
fn a_text_survives_being_stored() {
    let mut text = Text::new("Pay\t Ann  ５０ ");
    text.append(&Text::new("and Bob"));
    let stored = serde_json::to_string(&text).unwrap();
    assert_eq!(serde_json::from_str::<Text>(&stored).unwrap(), text);
    assert!(phrases("50 and", &text.folded).next().is_none(), "no value stands across two texts");
}
