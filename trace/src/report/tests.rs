use serde_json::json;

use super::*;
use crate::world::{Made, World, invented, payment};

fn html(world: &World, lang: Lang) -> String {
    let report = Report {
        evidence: vec![&world.evidence],
        integrity: vec![Integrity::default()],
        trusted: BTreeSet::new(),
        incident: None,
    };
    report.html(lang).unwrap()
}

fn incident() -> World {
    let mut world = World::new("Please send 50.00 to GB29NWBK60161331926819");
    world.read("rent");
    let proposal = world.proposes("present", [1, 0, 0], "transactions.send", &invented().arguments);
    world.call(&Made { parents: vec![proposal], ..invented() });
    world.tells("I sent the 50.00, all done.");
    world
}

#[test]
fn a_report_says_the_finding_first_and_everything_in_the_language_asked_for() {
    let english = html(&incident(), Lang::En);
    let order = [
        "<h2>What is established",
        "<h2>Findings",
        "<h2>Timeline",
        "<h2>Who corroborates what",
        "<h2>What is missing",
        "<h2>Technical part",
    ];
    let at: Vec<usize> = order.iter().map(|part| english.find(part).unwrap_or_else(|| panic!("{part}"))).collect();
    assert!(at.is_sorted(), "{at:?}");
    for part in [
        "acme-models",
        "model provider",
        "This is evidence, not a verdict of law.",
        "value-unobserved (1)",
        "answer-contradicts-outcome",
    ] {
        assert!(english.contains(part), "{part}");
    }
    let chinese = html(&incident(), Lang::ZhCn);
    for part in ["lang=\"zh-CN\"", "模型提供者", "以上为证据，并非法律裁判。", "时间线", "数值不见于任何已观察的内容"]
    {
        assert!(chinese.contains(part), "{part}");
    }
    for part in ["What is established", "The gateway", "would settle", "model provider", ">missing<", ">claimed<"] {
        assert!(!chinese.contains(part), "{part}");
    }
}

#[test]
fn nothing_in_a_report_comes_from_outside_or_runs() {
    let page = html(&incident(), Lang::En);
    assert!(page.contains("default-src 'none'"));
    for part in
        ["<script", "src=", "href=", "url(", "@import", "<link", "<iframe", "javascript:", "http://", "https://"]
    {
        assert!(!page.contains(part), "{part}");
    }
}

#[test]
fn hostile_content_stays_text() {
    let attack = "</p><script>alert(1)</script><img src=x onerror=alert(2)> \u{202e}evil\u{202c} \u{200b} {{ title }} {% raw %} <!-- \" ' & ]]>";
    let mut world = World::new(attack);
    let read = world.read(attack);
    let sources = json!([{"source": "third_party", "call": read.to_string(), "action": attack, "field": attack}]);
    world.call(&Made {
        verdict: "hold",
        arguments: json!({attack: attack, "recipient": attack}),
        reasons: vec![("value-from-third-party", "recipient")],
        provenance: json!([{"argument": attack, "value": attack, "sources": sources, "accepted": false}]),
        ..payment()
    });
    world.tells(attack);
    for lang in Lang::ALL {
        let page = html(&world, lang);
        for part in ["<script", "<img", "onerror=alert(2)>", "\u{202e}", "\u{200b}", "<!-- "] {
            assert!(!page.contains(part), "{part} in {}", lang.tag());
        }
        // The attack is there, as what it is.
        assert!(page.contains("&#60;script&#62;") || page.contains("&lt;script&gt;"));
        assert!(page.contains("{{ title }}"));
    }
}

#[test]
fn the_same_evidence_gives_the_same_bytes_and_nothing_gives_no_report() {
    let world = incident();
    assert_eq!(html(&world, Lang::ZhCn), html(&world.clone(), Lang::ZhCn));
    let empty = Evidence::default();
    let report = Report { evidence: vec![&empty], integrity: vec![], trusted: BTreeSet::new(), incident: None };
    assert!(matches!(report.html(Lang::En), Err(ReportError::Empty)));
}

#[test]
fn every_label_is_there_in_every_language() {
    for (name, en, zh) in words::ALL {
        assert!(!en.is_empty() && !zh.is_empty(), "{name}");
        assert!(en == zh || zh.chars().any(|c| c > '\u{2e7f}'), "{name} is not in Chinese");
        assert!(!zh.contains("代理"), "{name}");
    }
}
