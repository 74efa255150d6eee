-- Sessions of browsers. Operational: what is lost is signed in to again.
create table sessions (
    id           uuid primary key,
    -- The workspace that was selected when it was made.
    workspace_id text not null,
    -- HMAC-SHA-256 of the cookie and of whose it is, under a server key of the vault.
    hash         bytea not null,
    -- `user:…` or `key:…`, as events name them.
    actor        text not null,
    -- What finds the key's row, where it was made from a key.
    key_prefix   text,
    email        text,
    ip           text,
    user_agent   text,
    created_at   timestamptz not null,
    -- A minute late at the most.
    last_used_at timestamptz not null,
    expires_at   timestamptz not null,
    ended_at     timestamptz
);
create index sessions_of_actor on sessions (actor, last_used_at) where ended_at is null;
create index sessions_expiry on sessions (expires_at);

call isolate('sessions');

-- Of a session that is there only its use and its end can change: never whose it is.
grant select, insert, delete, update (last_used_at, ended_at) on sessions to toolroom_authenticator;
