-- The role that the server works as, and the login role's right to become it. Before 0003, which
-- does the same as far as PostgreSQL 15 goes: since 16 whoever creates a role may grant it, but not
-- become it before it is granted.
do $$
declare
    modern constant boolean := current_setting('server_version_num')::int >= 160000;
begin
    if not exists (select from pg_roles where rolname = 'toolroom_app') then
        begin
            create role toolroom_app nologin;
        exception
            -- Roles are the cluster's: another database's migration may have been quicker.
            when duplicate_object or unique_violation then null;
        end;
    end if;
    if pg_has_role('toolroom_app', case when modern then 'set' else 'member' end)
        and (not modern or pg_has_role('toolroom_app', 'usage'))
    then
        return;
    end if;
    begin
        execute format('grant toolroom_app to %I', current_user)
            || case when modern then ' with inherit true, set true' else '' end;
    exception
        when unique_violation then null;
    end;
end
$$;
