-- Who was granted a business entity, at any time, in the order in which members are listed.
CREATE INDEX CONCURRENTLY IF NOT EXISTS grants_business_entity ON grants (site_id, business_entity_id, member_id);
