DROP INDEX CONCURRENTLY grants_business_entity;
