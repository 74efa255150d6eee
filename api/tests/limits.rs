//! What plans limit, as several nodes over one database keep it.

#[path = "limits/denials.rs"]
mod denials;
#[path = "limits/http.rs"]
mod http;
#[path = "limits/quotas.rs"]
mod quotas;
#[path = "limits/rates.rs"]
mod rates;
mod support;
