-- The server works as `toolroom_app`, which may append to the log but neither change nor cut it.
-- Only migrations and recovery run as the owner.
do $$
begin
    if not exists (select from pg_roles where rolname = 'toolroom_app') then
        create role toolroom_app nologin;
    end if;
exception
    -- Roles are the cluster's: another database's migration may have been quicker.
    when duplicate_object or unique_violation then null;
end
$$;

do $$
begin
    if not pg_has_role(current_user, 'toolroom_app', 'member') then
        execute format('grant toolroom_app to %I', current_user);
    end if;
exception
    when unique_violation then null;
end
$$;

grant usage on schema public to toolroom_app;
grant select, insert on events, event_log to toolroom_app;
grant select, update on sequencer_state to toolroom_app;
grant select, insert, delete on command_log to toolroom_app;
grant select, insert, update, delete on claims, vault, numbers, checkpoints, dead_letters to toolroom_app;

-- What can be thrown away and rebuilt from the log lives in a schema of its own, whose tables the
-- server may create and drop.
create schema projections authorization toolroom_app;

-- What is neither primary nor derived: leases and the like, which no rebuild touches.
create schema operational authorization toolroom_app;
