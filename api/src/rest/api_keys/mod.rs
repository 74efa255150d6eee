//! API keys: GraphQL's fields in snake_case, at both paths that the contracts name.

mod create_key;
mod key;
mod list_keys;
mod revoke_key;

use toolroom_domain::access::Operation as O;

use super::Routes;

pub(super) fn routes(mut routes: Routes) -> Routes {
    const PATHS: [(&str, &str); 2] = [
        ("/api-keys", "/api-keys/{key_id}"),
        ("/api/v1/api-keys", "/api/v1/api-keys/{key_id}"),
    ];
    for (all, one) in PATHS {
        routes = routes
            .get(all, O::ApiKeys, list_keys::handle)
            .post(all, O::CreateApiKey, create_key::handle)
            .delete(one, O::RevokeApiKey, revoke_key::handle);
    }
    routes
}
