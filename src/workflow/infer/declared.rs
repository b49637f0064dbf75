//! Found slots, written down for their author to better.

use std::fmt::Write as _;

use crate::workflow::Slot;

/// The `.toml` that declares these slots.
pub fn slots_toml(description: &str, slots: &[Slot]) -> String {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let list = |texts: &mut dyn Iterator<Item = String>| texts.map(|t| quoted(&t)).collect::<Vec<_>>().join(", ");
    let mut out = format!("description = {}\n", quoted(description));
    for slot in slots {
        // Writing to a String can't fail.
        let _ = write!(
            out,
            "\n[[slot]]\nname = {}\ntype = \"{}\"\ndescription = {}\ninputs = [{}]\n",
            quoted(&slot.name),
            slot.kind.word(),
            quoted(&slot.description),
            list(&mut slot.inputs.iter().map(ToString::to_string)),
        );
        if !slot.also.is_empty() {
            out.push_str("also = [\n");
            for also in &slot.also {
                let _ = writeln!(out, "  {{ input = {}, times = {:?} }},", quoted(&also.input.to_string()), also.times);
            }
            out.push_str("]\n");
        }
        if let Some(min) = slot.min {
            let _ = writeln!(out, "min = {min:?}");
        }
        if let Some(max) = slot.max {
            let _ = writeln!(out, "max = {max:?}");
        }
        if slot.required {
            out.push_str("required = true\n");
        }
    }
    out
}
