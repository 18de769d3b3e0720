//! REPORT LUNS (SPC-4, 6.33).

use crate::parameter_data::ParameterData;

/// SELECT REPORT: which logical units are asked for.
pub mod select {
    /// All that are accessible, without well known ones.
    pub const ADDRESSABLE: u8 = 0x00;
    /// Well known logical units only.
    pub const WELL_KNOWN: u8 = 0x01;
    /// All of them.
    pub const ALL: u8 = 0x02;
}

/// The answer of a target whose only logical unit is 0; `listed` says whether the selection includes it.
pub fn single_unit(data: &mut ParameterData<'_>, listed: bool) {
    let length: u8 = if listed { 8 } else { 0 };
    data.push(&[0, 0, 0, length, 0, 0, 0, 0]);
    if listed {
        data.push(&[0; 8]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameter_data::collect;

    #[test]
    fn one_unit_is_eight_bytes_of_list() {
        let data = collect(|data| single_unit(data, true));

        assert_eq!(data, [0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn no_unit_is_an_empty_list() {
        assert_eq!(collect(|data| single_unit(data, false)), [0; 8]);
    }
}
