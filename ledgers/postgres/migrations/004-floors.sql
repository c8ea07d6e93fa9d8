-- How far each history of a broker was taken in: the highest number that anybody ever told. A history's
-- name holds its stream's birth, so a row is never right for another; rows of streams that are gone stay.
-- Frozen once released, as all of these files are.

create table floors (
        history bytea primary key,
        floor   bigint not null check (floor > 0)
) with (fillfactor = 50);

-- Raises the floor to at_least, if that is more, and says the highest; 0 only asks. A floor is raised
-- without a look at the old one first: of two writers the second waits, and sees what the first wrote.
create function floor_raise(name bytea, at_least bigint) returns bigint language plpgsql as $$
declare
        highest bigint;
begin
        if octet_length(name) not between 1 and 255 or at_least < 0 then
                raise exception 'a history''s name is 1 to 255 bytes, its floor not below 0'
                        using errcode = 'check_violation';
        elsif at_least > 0 then
                insert into floors as f (history, floor) values (name, at_least)
                on conflict (history) do update set floor = greatest(f.floor, excluded.floor)
                returning f.floor into highest;
        else
                select f.floor into highest from floors f where f.history = name;
        end if;
        return coalesce(highest, 0);
end $$;
