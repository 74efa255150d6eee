-- By what people and programs are known, before it is known to which workspace they belong.

-- What is kept of API keys: primary data. The key itself is shown once and kept nowhere.
create table key_hashes (
    -- The part of the key that is no secret, unique over all workspaces.
    prefix       text primary key,
    key_id       text not null unique,
    workspace_id text not null,
    -- HMAC-SHA-256 of the whole key under a server key of the vault.
    hash         bytea not null,
    role         text not null,
    -- Whether its holder runs the server: no command can make such a key.
    operator     boolean not null default false,
    expires_at   timestamptz,
    revoked_at   timestamptz,
    -- Written in batches: some seconds late.
    last_used_at timestamptz
);
create index key_hashes_workspace on key_hashes (workspace_id);

-- To which workspace an invitation's token leads.
create table invitation_tokens (
    -- SHA-256 in hexadecimal digits: the token has 256 random bits.
    token_hash    text primary key,
    workspace_id  text not null,
    invitation_id text not null,
    -- The key that invited, if it was one: revoked, it takes what it has left open with it.
    key_id        text,
    expires_at    timestamptz not null
);

call isolate('key_hashes');
call isolate('invitation_tokens');

grant select, insert, update on key_hashes to toolroom_committer;
grant select, insert, delete on invitation_tokens to toolroom_committer;
-- Whoever recognises callers cannot make a key, nor one worth more.
grant select, update (last_used_at) on key_hashes to toolroom_authenticator;
grant select on invitation_tokens to toolroom_authenticator;
grant select (workspace_id, key_id, last_used_at) on key_hashes to toolroom_reader;
