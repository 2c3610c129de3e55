DROP TRIGGER version_credential ON all_site_credentials;
DROP TRIGGER version_credential ON credentials;
DROP FUNCTION version_credential;
ALTER TABLE all_site_credentials DROP COLUMN version;
ALTER TABLE credentials DROP COLUMN version;
