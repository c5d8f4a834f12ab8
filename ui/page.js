/*
 * The administration page: shows what the API answers, and asks it to change
 * the lists.  The API decides everything; what is checked here is checked to
 * save a round trip.
 *
 * Whatever comes from outside (actors, audiences, reasons) becomes a text
 * node and never markup.  Changes carry If-Match, so two administrators
 * cannot undo each other's work unseen.
 *
 *   model.js  <-  dom.js  <-  dialogs.js  <-  draw.js  <-  page.js
 */

import { model, refresh, whenNews } from './model.js';
import { $, act, followTips, plural, say, succeed } from './dom.js';
import {
    KINDS, addError, dialog, openAdd, submitAdd,
} from './dialogs.js';
import { ROWS, draw, drawList, entries, showMore, view } from './draw.js';


function turn(button, by)
{
    if (button.getAttribute('aria-disabled') === 'true') {
        return;
    }
    model.page = Math.max(0, model.page + by);
    refresh().then(() => say(`Activity, page ${model.page + 1}`));
}

function followList(kind)
{
    const field = $(`${kind}-filter`);

    $(`${kind}-add`).addEventListener('click',
        (event) => act(event, () => openAdd(kind)));

    field.addEventListener('input', () => {
        view[kind].filter = field.value.trim().toLowerCase();
        view[kind].shown = ROWS;
        $(`${kind}-scroll`).scrollTop = 0;
        drawList(kind);
        say(`${plural(entries(kind).length, KINDS[kind].noun)} found`);
    });

    new IntersectionObserver((seen) => {
        if (seen.some((entry) => entry.isIntersecting)) {
            showMore(kind);
        }
    }, { root: $(`${kind}-scroll`), rootMargin: '200px' })
        .observe($(`${kind}-more`));
}

function begin()
{
    Object.keys(KINDS).forEach(followList);
    followTips();

    $('add-form').addEventListener('submit', submitAdd);
    $('add-value').addEventListener('input', () => addError(''));
    $('add-cancel').addEventListener('click', () => $('add').close());
    $('confirm-form').addEventListener('submit',
                                       (event) => dialog.submit(event));
    $('confirm-cancel').addEventListener('click', () => $('confirm').close());

    $('older').addEventListener('click', () => turn($('older'), 1));
    $('newer').addEventListener('click', () => turn($('newer'), -1));

    window.addEventListener('online', () => refresh());
    document.addEventListener('visibilitychange', () => {
        clearTimeout(model.timer);
        if (document.visibilityState === 'visible') {
            refresh();
        }
    });

    whenNews((returned) => {
        draw();
        if (returned) {
            succeed('The connection is back; everything here is up to '
                + 'date.');
        }
    });
    draw();
    refresh(true);
}

begin();
