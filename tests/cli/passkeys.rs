//! Approvals with a passkey on the pages, in a real browser.

use serde_json::{Value, json};

use crate::{
    browser::Browser,
    sidecar::{Sidecar, path},
};

const EVIL: &str = "<img src=x onerror=alert(1)> \u{202e}<script>alert(2)</script>";

fn page(sidecar: &Sidecar, target: &str) -> String {
    format!("http://localhost:{}{target}", sidecar.api.rsplit(':').next().unwrap())
}

/// An operator's link for a party.
fn link(sidecar: &Sidecar, party: &str) -> String {
    let secret = sidecar.dir.path().join("operator.secret");
    std::fs::write(&secret, sidecar.secret("operator")).unwrap();
    let api = format!("http://{}", sidecar.api);
    let (code, said) =
        sidecar.tool(&["keys", "enrol", "--party", party, "--api", &api, "--secret-file", path(&secret)]);
    assert!(code == 0 && said.contains(&format!("For `{party}` only, once")), "{said}");
    said.lines().next().unwrap().to_owned()
}

struct Agent<'s>(&'s Sidecar, String);

impl Agent<'_> {
    fn new<'s>(sidecar: &'s Sidecar, words: &str) -> Agent<'s> {
        let granted = sidecar.instruct(words, "emma", &["transactions.send", "transactions.read"]);
        Agent(sidecar, granted["token"].as_str().unwrap().to_owned())
    }

    fn pay(&self, to: &str, subject: &str) -> crate::sidecar::Answer {
        let body = json!({ "recipient": to, "amount": 5, "subject": subject, "date": "2022-01-01" });
        self.0.ask(&self.0.gateway, "POST", "/transactions", &self.1, Some(&body))
    }

    fn held(&self, to: &str, subject: &str) -> String {
        let held = self.pay(to, subject);
        assert_eq!(held.code(), "approval-required", "{}", held.body);
        held.json()["held"].as_str().unwrap().to_owned()
    }
}

/// Makes a passkey and signs in.
fn enrol(browser: &Browser, sidecar: &Sidecar, party: &str, [make, done, sign_in]: [&str; 3]) {
    browser.open(&link(sidecar, party));
    browser.wait(make);
    browser.picture(&format!("enrol-{party}"));
    browser.click("button[data-act=enrol]");
    browser.wait(done);
    browser.open(&page(sidecar, "/approve"));
    browser.wait(sign_in);
    browser.picture(&format!("sign-in-{party}"));
    browser.click("button[data-act=sign-in]");
}

/// No script was blocked, none of a page's own failed.
fn quiet(browser: &Browser) {
    let bad = |line: &String| !line.contains("Failed to load resource");
    let said: Vec<_> = browser.log().into_iter().filter(bad).collect();
    assert!(said.is_empty(), "{said:?}");
}

#[test]
fn an_approver_sees_a_held_call_whole_and_answers_exactly_it_with_a_passkey() {
    let Some(browser) = Browser::start("en-GB", 1100) else { return };
    let mut sidecar = Sidecar::approving(|catalogue| catalogue);
    let authenticator = browser.authenticator();
    enrol(&browser, &sidecar, "ann", ["Make your passkey", "Your passkey is registered.", "Only approvers"]);
    browser.wait("No call waits.");
    browser.picture("empty");
    let agent = Agent::new(&sidecar, "Pay Bob 5 & say \"hi\"");
    let call = agent.held("Mallory", EVIL);
    let other = agent.held("Carl", "rent");
    browser.open(&page(&sidecar, "/approve"));
    let list = browser.wait("Calls that wait for you");
    assert!(list.contains("Pay Bob 5 & say \"hi\"") && list.matches("transactions.send").count() == 2, "{list}");
    browser.picture("list");
    browser.click(&format!("a[href^='/approve/{call}']"));
    let shown = browser.wait("An agent asks for your approval");
    for part in [
        "Pay Bob 5 & say \"hi\"",
        "transactions.send",
        "cannot be undone",
        "Mallory",
        "<img src=x onerror=alert(1)> \\u{202e}<script>alert(2)</script>",
        "Source: in nothing that was observed",
        "assistant",
        "a human must approve this call",
        "UTC",
    ] {
        assert!(shown.contains(part), "`{part}` is not in:\n{shown}");
    }
    browser.picture("call");

    // An authenticator that does not know who is there signs nothing.
    browser.verified(&authenticator, false);
    browser.click("button[data-act=approve]");
    browser.wait("Nothing was done");
    assert_eq!(agent.pay("Mallory", EVIL).code(), "approval-required");
    browser.verified(&authenticator, true);
    browser.click("button[data-act=approve]");
    browser.wait("Approved. The agent may make exactly this call, once.");
    browser.picture("approved");
    assert_eq!((agent.pay("Mallory", EVIL).status, agent.pay("Mallory", EVIL).status), (201, 403));

    browser.open(&page(&sidecar, &format!("/approve/{other}")));
    browser.wait("Carl");
    browser.click("button[data-act=deny]");
    browser.wait("Denied.");
    assert_eq!(agent.pay("Carl", "rent").code(), "approval-denied");
    browser.open(&page(&sidecar, &format!("/approve/{other}")));
    browser.wait("This call waits no longer");
    browser.picture("gone");
    quiet(&browser);
    browser.click("button[data-act=sign-out]");
    browser.wait("Only approvers");

    // A link serves once, and a passkey that nobody let in opens nothing.
    let second = Browser::start("en-GB", 1100).unwrap();
    second.authenticator();
    let link = link(&sidecar, "ben");
    for (text, serves) in [("Your passkey is registered.", true), ("It is no longer there", false)] {
        second.open("about:blank");
        second.open(&link);
        second.wait("Make your passkey");
        second.click("button[data-act=enrol]");
        second.wait(text);
        assert_eq!(second.text().contains("registered."), serves);
    }
    drop(second);
    sidecar.stop();
    let (code, said) = sidecar.verify();
    assert_eq!(code, 0, "{said}");
}

#[test]
fn two_approvers_say_yes_and_one_no_is_final() {
    let Some(ann) = Browser::start("zh-CN", 390) else { return };
    let two = |catalogue: String| {
        catalogue.replace("name = \"transactions.send\"\n", "name = \"transactions.send\"\napprovals = 2\n")
    };
    let mut sidecar = Sidecar::approving(two);
    let ben = Browser::start("zh-CN", 390).unwrap();
    for (browser, party) in [(&ann, "ann"), (&ben, "ben")] {
        browser.authenticator();
        enrol(browser, &sidecar, party, ["创建您的通行密钥", "您的通行密钥已登记", "只有审批人能看到"]);
        browser.wait("没有等待的调用");
    }
    let agent = Agent::new(&sidecar, "付给小明 5 元");
    let call = agent.held("Mallory", "午饭钱");
    let target = page(&sidecar, &format!("/approve/{call}"));
    ann.open(&page(&sidecar, "/approve"));
    ann.wait("等待您答复的调用");
    ann.picture("zh-list");
    ann.open(&target);
    let shown = ann.wait("智能体请求您批准");
    assert!(
        shown.contains("付给小明 5 元")
            && shown.contains("在看到过的任何内容里都没有")
            && shown.contains("需要的批准数"),
        "{shown}"
    );
    ann.picture("zh-call");
    let status = page(&sidecar, &agent.status(&call));
    ann.click("button[data-act=approve]");
    ann.wait("还在等待其他审批人");
    assert_eq!(agent.pay("Mallory", "午饭钱").code(), "approval-required", "one is not enough");
    ann.open(&target);
    let shown = ann.wait("您已批准这次调用");
    assert!(shown.contains("ann"), "{shown}");
    ann.picture("zh-mine");
    assert_eq!(ann.script("return document.querySelectorAll('button[data-act=approve]').length"), json!(0));
    ben.open(&status);
    ben.wait("正在等待审批人");
    ben.picture("zh-status");
    ben.open(&target);
    ben.wait("ann");
    ben.click("button[data-act=approve]");
    ben.wait("仅一次");
    ben.open(&status);
    ben.wait("已批准");
    assert_eq!((agent.pay("Mallory", "午饭钱").status, agent.pay("Mallory", "午饭钱").status), (201, 403));
    ben.open(&status);
    ben.wait("已进行");

    let call = agent.held("Carl", "房租");
    let target = page(&sidecar, &format!("/approve/{call}"));
    ann.open(&target);
    ann.wait("智能体请求您批准");
    ann.click("button[data-act=approve]");
    ann.wait("还在等待其他审批人");
    ben.open(&target);
    ben.wait("智能体请求您批准");
    ben.click("button[data-act=deny]");
    ben.wait("已拒绝");
    assert_eq!(agent.pay("Carl", "房租").code(), "approval-denied");
    quiet(&ann);
    quiet(&ben);
    sidecar.stop();
    let (code, said) = sidecar.verify();
    assert_eq!(code, 0, "{said}");
}

impl Agent<'_> {
    /// The address of the page that says how a held call stands.
    fn status(&self, call: &str) -> String {
        let payload = self.1.split('.').nth(1).unwrap();
        let claims = data_encoding::BASE64URL_NOPAD.decode(payload.as_bytes()).unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        format!("/held/{}/{call}", claims["instruction"].as_str().unwrap())
    }
}
