-- First half of a rename: both names are there, and a trigger keeps them equal, so that the old
-- and the new version of the service can run side by side.
alter table customers add column contact_email text;

update customers set contact_email = email;

create function customers_keep_emails_equal() returns trigger
language plpgsql as $$
begin
    if tg_op = 'INSERT' then
        new.contact_email := coalesce(new.contact_email, new.email);
        new.email := coalesce(new.email, new.contact_email);
    elsif new.contact_email is distinct from old.contact_email then
        new.email := new.contact_email;
    else
        new.contact_email := new.email;
    end if;
    return new;
end
$$;

create trigger customers_keep_emails_equal
    before insert or update of email, contact_email on customers
    for each row execute function customers_keep_emails_equal();

alter table customers alter column contact_email set not null;
create unique index customers_contact_email_key on customers (contact_email);
