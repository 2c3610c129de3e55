-- The version of a credential. Those of all sites have no events to be numbered by, so it counts changes. A
-- trigger does it, so that it moves too where the release before this one changes or revokes a credential. Its
-- last use is none of its attributes.
ALTER TABLE credentials ADD COLUMN version bigint NOT NULL DEFAULT 1;
ALTER TABLE all_site_credentials ADD COLUMN version bigint NOT NULL DEFAULT 1;

CREATE FUNCTION version_credential() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.label, NEW.expires_at, NEW.certificate_name, NEW.revoked_at)
        IS DISTINCT FROM (OLD.label, OLD.expires_at, OLD.certificate_name, OLD.revoked_at) THEN
        NEW.version := OLD.version + 1;
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER version_credential BEFORE UPDATE OF label, expires_at, certificate_name, revoked_at
    ON credentials FOR EACH ROW EXECUTE FUNCTION version_credential();
CREATE TRIGGER version_credential BEFORE UPDATE OF label, expires_at, certificate_name, revoked_at
    ON all_site_credentials FOR EACH ROW EXECUTE FUNCTION version_credential();
