DROP INDEX CONCURRENTLY group_members_ended;
