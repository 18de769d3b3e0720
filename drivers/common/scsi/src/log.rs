//! LOG SENSE parameter data: log pages (SPC-4, 7.3; SBC-3, 6.3).

use crate::parameter_data::ParameterData;

/// Page codes of log pages.
pub mod page {
    /// Supported log pages
    pub const SUPPORTED_PAGES: u8 = 0x00;
    /// Solid state media
    pub const SOLID_STATE_MEDIA: u8 = 0x11;
}

/// PARAMETER CODE of the percentage used endurance indicator, the only one of [`page::SOLID_STATE_MEDIA`].
pub const PERCENTAGE_USED: u16 = 0x0001;

fn log_page(data: &mut ParameterData<'_>, page: u8, length: u8) {
    data.push(&[page, 0, 0, length]);
}

/// The page that lists the others; `pages` are in ascending order.
pub fn supported_pages(data: &mut ParameterData<'_>, pages: &[u8]) {
    log_page(data, page::SUPPORTED_PAGES, pages.len() as u8);
    data.push(pages);
}

/// The Solid State Media page (SBC-3, 6.3.6): how much of the medium's life is used, in percent, if anything is known of it.
/// More than 100 says that it lives on beyond what was expected.
pub fn solid_state_media(data: &mut ParameterData<'_>, percentage_used: Option<u8>) {
    /// FORMAT AND LINKING 11b: a parameter of binary values, which no LOG SELECT resets.
    const BINARY_LIST: u8 = 0x03;
    let Some(used) = percentage_used else {
        return log_page(data, page::SOLID_STATE_MEDIA, 0);
    };
    let [high, low] = PERCENTAGE_USED.to_be_bytes();
    log_page(data, page::SOLID_STATE_MEDIA, 8);
    data.push(&[high, low, BINARY_LIST, 4, 0, 0, 0, used]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameter_data::collect;

    #[test]
    fn the_page_list_carries_its_length() {
        assert_eq!(collect(|data| supported_pages(data, &[0x00, 0x11])), [0, 0, 0, 2, 0x00, 0x11]);
    }

    #[test]
    fn solid_state_media_has_one_parameter() {
        let data = collect(|data| solid_state_media(data, Some(30)));

        assert_eq!(data, [0x11, 0, 0, 8, 0, 1, 0x03, 4, 0, 0, 0, 30]);
    }

    #[test]
    fn without_a_percentage_there_is_no_parameter() {
        assert_eq!(collect(|data| solid_state_media(data, None)), [0x11, 0, 0, 0]);
    }
}
