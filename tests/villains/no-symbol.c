/* A shared object, but no plug-in. */
int nothing_to_see_here(void);
int nothing_to_see_here(void)
{
        return 0;
}
