-- What a command answered whose outcome cannot be read again: one that changed no aggregate.
alter table command_log add column outcome json;
