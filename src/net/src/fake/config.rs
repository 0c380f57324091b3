//! What `help.getConfig` returns: only the timers of calls mean anything here.

use std::time::Duration;

use grammers_tl_types as tl;
use telegram::Timers;

/// The server's settings with these timers.
pub(super) fn config(timers: &Timers) -> tl::types::Config {
    let ms = |time: Duration| i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
    tl::types::Config {
        default_p2p_contacts: true,
        preload_featured_stickers: false,
        revoke_pm_inbox: false,
        blocked_mode: false,
        force_try_ipv6: false,
        date: 0,
        expires: i32::MAX,
        test_mode: true,
        this_dc: 2,
        dc_options: Vec::new(),
        dc_txt_domain_name: String::new(),
        chat_size_max: 200,
        megagroup_size_max: 200,
        forwarded_count_max: 100,
        online_update_period_ms: 0,
        offline_blur_timeout_ms: 0,
        offline_idle_timeout_ms: 0,
        online_cloud_timeout_ms: 0,
        notify_cloud_delay_ms: 0,
        notify_default_delay_ms: 0,
        push_chat_period_ms: 0,
        push_chat_limit: 0,
        edit_time_limit: 0,
        revoke_time_limit: 0,
        revoke_pm_time_limit: 0,
        rating_e_decay: 0,
        stickers_recent_limit: 0,
        channels_read_media_period: 0,
        tmp_sessions: None,
        call_receive_timeout_ms: ms(timers.receive),
        call_ring_timeout_ms: ms(timers.ring),
        call_connect_timeout_ms: ms(timers.connect),
        call_packet_timeout_ms: 10_000,
        me_url_prefix: String::new(),
        autoupdate_url_prefix: None,
        gif_search_username: None,
        venue_search_username: None,
        img_search_username: None,
        static_maps_provider: None,
        caption_length_max: 0,
        message_length_max: 4096,
        webfile_dc_id: 2,
        suggested_lang_code: None,
        lang_pack_version: None,
        base_lang_pack_version: None,
        reactions_default: None,
        autologin_token: None,
    }
}
