-- The name in the client certificate that a credential has to come with; none: any or no certificate.
ALTER TABLE credentials ADD COLUMN certificate_name text;
ALTER TABLE all_site_credentials ADD COLUMN certificate_name text;
