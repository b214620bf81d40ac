//! What the sample bank keeps, and what changes it.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json, value::RawValue};

/// The bank at the beginning: a row of the extract.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    iban: String,
    balance: Decimal,
    password: String,
    user: User,
    transactions: Vec<Transaction>,
    scheduled: Vec<Transaction>,
    files: BTreeMap<String, String>,
    /// The harmless text of each place where an attacker can put text.
    vectors: BTreeMap<String, String>,
}

/// The account's owner.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct User {
    first_name: String,
    last_name: String,
    street: String,
    city: String,
}

/// A payment, made or planned.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Transaction {
    id: u64,
    sender: String,
    recipient: String,
    amount: Decimal,
    subject: String,
    date: String,
    recurring: bool,
}

/// An order for a payment.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Order {
    recipient: String,
    amount: Box<RawValue>,
    subject: String,
    date: String,
    #[serde(default)]
    recurring: bool,
}

/// Changes to a planned payment.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    recipient: Option<String>,
    amount: Option<Box<RawValue>>,
    subject: Option<String>,
    date: Option<String>,
    recurring: Option<bool>,
}

/// Changes to the owner's data.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UserChange {
    first_name: Option<String>,
    last_name: Option<String>,
    street: Option<String>,
    city: Option<String>,
}

/// Why something is not done.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("`{0}` is not an amount of money: give a positive decimal number")]
    Amount(String),
    #[error("there is no planned payment `{0}`")]
    Planned(String),
    #[error("the account cannot hold that amount")]
    Overflow,
}

/// The bank's state. It lends without limit: what stops a payment here is not the bank.
#[derive(Debug)]
pub(super) struct Account {
    opening: Opening,
    /// Every write that was executed, in order.
    journal: Vec<Value>,
    next_id: u64,
}

impl Account {
    /// The bank at the beginning, with `planted` where an attacker can put text.
    pub(super) fn new(mut opening: Opening, planted: &str) -> Account {
        let vectors = std::mem::take(&mut opening.vectors);
        let fill = |text: &mut String| {
            for (name, harmless) in &vectors {
                let gap = if planted.is_empty() || harmless.is_empty() { "" } else { "\n" };
                *text = text.replace(&format!("<<{name}>>"), &format!("{harmless}{gap}{planted}"));
            }
        };
        opening.files.values_mut().for_each(fill);
        opening.transactions.iter_mut().for_each(|transaction| fill(&mut transaction.subject));
        let ids = opening.transactions.iter().chain(&opening.scheduled).map(|transaction| transaction.id);
        let next_id = ids.max().unwrap_or(0).saturating_add(1);
        Account { opening, journal: Vec::new(), next_id }
    }

    pub(super) fn iban(&self) -> &str {
        &self.opening.iban
    }

    pub(super) const fn balance(&self) -> Decimal {
        self.opening.balance
    }

    /// The newest `n` payments, oldest first.
    pub(super) fn transactions(&self, n: usize) -> &[Transaction] {
        let all = &self.opening.transactions;
        all.get(all.len().saturating_sub(n)..).unwrap_or_default()
    }

    pub(super) fn scheduled(&self) -> &[Transaction] {
        &self.opening.scheduled
    }

    pub(super) fn file(&self, path: &str) -> Option<&str> {
        self.opening.files.get(path).map(String::as_str)
    }

    pub(super) const fn user(&self) -> &User {
        &self.opening.user
    }

    pub(super) fn journal(&self) -> &[Value] {
        &self.journal
    }

    pub(super) fn send(&mut self, order: Order) -> Result<u64, Refused> {
        let transaction = self.transaction(order)?;
        self.opening.balance = self.balance().checked_sub(transaction.amount).ok_or(Refused::Overflow)?;
        let id = transaction.id;
        self.opening.transactions.push(transaction);
        Ok(id)
    }

    pub(super) fn schedule(&mut self, order: Order) -> Result<u64, Refused> {
        let transaction = self.transaction(order)?;
        let id = transaction.id;
        self.opening.scheduled.push(transaction);
        Ok(id)
    }

    pub(super) fn change(&mut self, id: &str, change: Change) -> Result<(), Refused> {
        let amount = change.amount.as_deref().map(money).transpose()?;
        let found = self.opening.scheduled.iter_mut().find(|planned| planned.id.to_string() == id);
        let planned = found.ok_or_else(|| Refused::Planned(id.to_owned()))?;
        set(&mut planned.recipient, change.recipient);
        set(&mut planned.amount, amount);
        set(&mut planned.subject, change.subject);
        set(&mut planned.date, change.date);
        set(&mut planned.recurring, change.recurring);
        Ok(())
    }

    pub(super) fn change_user(&mut self, change: UserChange) {
        let user = &mut self.opening.user;
        set(&mut user.first_name, change.first_name);
        set(&mut user.last_name, change.last_name);
        set(&mut user.street, change.street);
        set(&mut user.city, change.city);
    }

    pub(super) fn change_password(&mut self, password: String) {
        self.opening.password = password;
    }

    /// Notes a write that was executed, as it was asked for.
    pub(super) fn note(&mut self, call: String, body: &Value) {
        self.journal.push(json!({ "call": call, "body": plain(body) }));
    }

    fn transaction(&mut self, order: Order) -> Result<Transaction, Refused> {
        let amount = money(&order.amount)?;
        let id = self.next_id;
        self.next_id = id.saturating_add(1);
        let Order { recipient, subject, date, recurring, .. } = order;
        Ok(Transaction { id, sender: self.opening.iban.clone(), recipient, amount, subject, date, recurring })
    }
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

/// The number as it was written, never through floating point; a string may hold it too.
fn money(raw: &RawValue) -> Result<Decimal, Refused> {
    let text = raw.get().trim_matches('"');
    let amount = Decimal::from_str_exact(text).ok().filter(|amount| amount.is_sign_positive() && !amount.is_zero());
    amount.ok_or_else(|| Refused::Amount(text.to_owned()))
}

/// A body with every number as its shortest decimal text, so that `98.70` and `"98.7"` compare as equal.
pub(in crate::demo) fn plain(value: &Value) -> Value {
    let short = |text: &str| Decimal::from_str_exact(text).ok().map(|amount| json!(amount.normalize().to_string()));
    match value {
        Value::Object(members) => {
            members.iter().map(|(name, value)| (name.clone(), plain(value))).collect::<serde_json::Map<_, _>>().into()
        }
        Value::Number(number) => short(&number.to_string()).unwrap_or_else(|| value.clone()),
        Value::String(text) => short(text).unwrap_or_else(|| value.clone()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::cases::cases;

    fn account(planted: &str) -> Account {
        Account::new(cases().unwrap().bank.clone(), planted)
    }

    fn order(amount: &str) -> Order {
        serde_json::from_str(&format!(r#"{{"recipient":"X","amount":{amount},"subject":"s","date":"2022-01-01"}}"#))
            .unwrap()
    }

    #[test]
    fn money_is_exact_and_moves_once() {
        let mut account = account("");
        assert_eq!(account.send(order("0.1")).unwrap(), 8);
        assert_eq!(account.send(order("\"0.2\"")).unwrap(), 9);
        assert_eq!(account.balance().to_string(), "1809.70");
        assert_eq!(account.transactions(1).len(), 1);
        assert_eq!(account.transactions(100).len(), 7);
    }

    #[test]
    fn what_is_no_amount_moves_nothing() {
        for amount in ["-1", "0", "\"ten\"", "1e9", "null", "99999999999999999999999999999999"] {
            let mut account = account("");
            assert!(matches!(account.send(order(amount)), Err(Refused::Amount(_))), "{amount}");
            assert_eq!((account.balance().to_string(), account.transactions(100).len()), ("1810.00".to_owned(), 5));
        }
    }

    #[test]
    fn planted_text_stands_in_all_four_places_and_no_placeholder_is_left() {
        for (planted, count) in [("", 0), ("PAY ME", 4)] {
            let account = account(planted);
            let texts = account.opening.files.values().chain(account.opening.transactions.iter().map(|t| &t.subject));
            let all: String = texts.cloned().collect();
            assert!(!all.contains("<<"), "{all}");
            assert_eq!(all.matches("PAY ME").count(), count);
        }
    }

    #[test]
    fn a_plan_changes_only_where_it_is_told_to() {
        let mut account = account("");
        account.change("7", serde_json::from_str(r#"{"amount":1200}"#).unwrap()).unwrap();
        let plan = &account.scheduled()[1];
        assert_eq!((plan.amount.to_string().as_str(), plan.recipient.as_str()), ("1200", "US122000000121212121212"));
        let missing = account.change("07", serde_json::from_str("{}").unwrap());
        assert_eq!(missing, Err(Refused::Planned("07".into())));
    }
}
