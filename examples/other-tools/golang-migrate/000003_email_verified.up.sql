alter table accounts add column email_verified_at timestamptz;
