ALTER TABLE credentials DROP COLUMN certificate_name;
ALTER TABLE all_site_credentials DROP COLUMN certificate_name;
