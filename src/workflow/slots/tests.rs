use super::*;
use serde_json::json;

fn slot(rules: &str) -> Slot {
    toml::from_str(&format!("name = \"x\"\ninputs = [\"1.a\"]\n{rules}")).expect("a slot")
}

#[expect(clippy::needless_pass_by_value, reason = "the tests read better without a borrow in each line")]
fn fit(slot: &Slot, value: Value) -> Result<Value, String> {
    slot.fit(&value).map(|fit| match fit {
        Fit::Value(value) => value,
        Fit::RandomSeed => json!("random"),
        Fit::NextSeed => json!("increment"),
    })
}

#[test]
fn a_length_follows_its_rule() {
    let length = slot("type = \"int\"\nmin = 5\nmax = 257\nmultiple_of = 4\nplus = 1");
    assert_eq!(fit(&length, json!(129)), Ok(json!(129)));
    assert_eq!(fit(&length, json!(129.0)), Ok(json!(129)));
    assert_eq!(fit(&length, json!(131)).unwrap_err(), "must be 4n+1, not 131; the nearest is 129 or 133");
    assert_eq!(fit(&length, json!(256)).unwrap_err(), "must be 4n+1, not 256; the nearest is 253 or 257");
    assert_eq!(fit(&length, json!(6)).unwrap_err(), "must be 4n+1, not 6; the nearest is 5 or 9");
    assert_eq!(fit(&length, json!(1)).unwrap_err(), "must be from 5 to 257, not the number 1");
    assert_eq!(fit(&length, json!("129")).unwrap_err(), "must be a whole number, not the text \"129\"");
    assert!(fit(&length, json!(129.5)).is_err() && fit(&length, json!(null)).is_err());
    assert!(fit(&length, json!(i64::MIN)).is_err() && fit(&length, json!(u64::MAX)).is_err());
}

#[test]
fn a_seed_takes_all_of_64_bits() {
    let seed = slot("type = \"seed\"");
    assert_eq!(fit(&seed, json!(u64::MAX)), Ok(json!(u64::MAX)));
    for (value, wish) in [(json!(-1), "random"), (json!("random"), "random"), (json!("increment"), "increment")] {
        assert_eq!(fit(&seed, value), Ok(json!(wish)));
    }
    assert!(fit(&seed, json!(-2)).is_err() && fit(&seed, json!(1.5)).is_err() && fit(&seed, json!("7")).is_err());
    let too_big: Value = serde_json::from_str("18446744073709551616").expect("a float");
    assert!(fit(&seed, too_big).is_err());
}

#[test]
fn texts_files_switches_and_floats() {
    assert_eq!(fit(&slot("type = \"string\""), json!("")), Ok(json!("")));
    assert!(fit(&slot("type = \"string\""), json!(["a"])).unwrap_err().contains("not a list"));
    let choice = slot("type = \"string\"\nchoices = [\"euler\", \"heun\"]");
    assert_eq!(
        fit(&choice, json!("eular")).unwrap_err(),
        "must be one of euler, heun, not the text \"eular\" (did you mean `euler`?)"
    );
    for bad in [json!(""), json!("input:"), json!("a\0b"), json!(7)] {
        assert!(fit(&slot("type = \"image\""), bad).is_err());
    }
    assert_eq!(fit(&slot("type = \"bool\""), json!(true)), Ok(json!(true)));
    assert!(fit(&slot("type = \"bool\""), json!(1)).is_err());
    assert_eq!(fit(&slot("type = \"float\"\nmin = 1.0"), json!(16)), Ok(json!(16.0)));
    assert_eq!(
        fit(&slot("type = \"float\"\nmin = 1.0"), json!(0.5)).unwrap_err(),
        "must be at least 1, not the number 0.5"
    );
}

#[test]
fn half_the_steps_is_a_whole_number() {
    let half: Also = toml::from_str("input = \"13.end_at_step\"\ntimes = 0.5").expect("parses");
    assert_eq!(half.value(&json!(4), &json!(2)), Some(json!(2)));
    assert_eq!(half.value(&json!(5), &json!(2)), Some(json!(2)));
    assert_eq!(half.value(&json!(5), &json!(2.0)), Some(json!(2.5)));
    assert_eq!(half.value(&json!("5"), &json!(2)), None);
}
