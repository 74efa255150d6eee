//! Secrets: GraphQL's fields in snake_case. Values go in and never come out.

mod create_secret;
mod delete_secret;
mod get_secret;
mod list_secrets;
mod replace_secret;
mod secret;

use toolroom_domain::access::Operation as O;

use super::Routes;

pub(super) fn routes(routes: Routes) -> Routes {
    const ALL: &str = "/api/v1/secrets";
    const ONE: &str = "/api/v1/secrets/{name}";
    routes
        .get(ALL, O::Secrets, list_secrets::handle)
        .post(ALL, O::CreateSecret, create_secret::handle)
        .get(ONE, O::Secrets, get_secret::handle)
        .put(ONE, O::ReplaceSecret, replace_secret::handle)
        .delete(ONE, O::DeleteSecret, delete_secret::handle)
}
