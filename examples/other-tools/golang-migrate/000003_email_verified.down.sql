alter table accounts drop column email_verified_at;
