/*
 * What an administrator does: the words for it, the dialogs that ask, and
 * the changes they make.
 */

import { GUID, has, model, patch, readOnly } from './model.js';
import { $, element, fail, guid, plural, succeed } from './dom.js';


/* the words for either list */
export const KINDS = {
    client: {
        noun: 'client ID',
        label: 'Client ID',
        help: 'The "Application (client) ID" of the app registration in Entra.',
        addTitle: 'Add Entra client ID',
        required: 'Client ID is required',
        exists: "Couldn't add client ID. Client ID already exists.",
        added: 'Successfully added client ID',
        deleteTitle: 'Delete client ID',
        deleteText: 'Windows hosts can no longer enroll using this '
            + 'application. Other client IDs are not affected.',
        deleted: 'Successfully deleted client ID',
        emptyTitle: 'No client IDs added',
        emptyText: 'Add your Entra application client ID to enroll Windows '
            + 'hosts.',
    },
    tenant: {
        noun: 'tenant',
        label: 'Tenant ID',
        help: 'The "Directory (tenant) ID" of the organization in Entra.',
        addTitle: 'Add Entra tenant',
        required: 'Tenant ID is required',
        exists: "Couldn't add tenant. Tenant ID already exists.",
        added: 'Successfully added tenant',
        deleteTitle: 'Delete tenant',
        deleteText: 'Users of this organization can no longer enroll Windows '
            + 'hosts. Other tenants are not affected.',
        deleted: 'Successfully deleted tenant',
        emptyTitle: 'No tenants added',
        emptyText: 'Add your Entra tenant ID to enroll Windows hosts.',
    },
};

const INVALID = 'Invalid UUID. Please provide a valid UUID format.';

export function sizes()
{
    const { client, tenant } = model.config.lists;

    return `${plural(client.length, 'client ID')} and `
        + plural(tenant.length, 'tenant');
}

/* one question to the administrator at a time */
export const dialog = { kind: null, submit: null, busy: false };

export function openAdd(kind)
{
    const { addTitle, label, help } = KINDS[kind];

    dialog.kind = kind;
    $('add-title').textContent = addTitle;
    $('add-label').textContent = label;
    $('add-help').textContent = help;
    $('add-value').value = '';
    addError('');
    $('add').showModal();
    $('add-value').focus();
}

export function addError(message)
{
    $('add-error').textContent = message;
    $('add-value').setAttribute('aria-invalid', String(message !== ''));
}

/* why that ID cannot be added; '': it can */

function complaint(kind, id)
{
    if (!id) {
        return KINDS[kind].required;
    }
    if (!GUID.test(id)) {
        return INVALID;
    }
    switch (has(kind, id)) {
    case 'list':
        return KINDS[kind].exists;
    case 'nginx.conf':
        return `${KINDS[kind].exists} It is configured in nginx.conf.`;
    default:
        return '';
    }
}

const added = (kind, id) => ({ [kind]: [...model.config.lists[kind], id] });

export async function submitAdd(event)
{
    const { kind } = dialog;
    const id = $('add-value').value.trim().toLowerCase();
    const wrong = complaint(kind, id);

    event.preventDefault();
    if (wrong) {
        addError(wrong);
        $('add-value').focus();
        return;
    }
    await submit($('add'), $('add-submit'), async () => {
        addError('');
        await patch(added(kind, id));
    }, addError, KINDS[kind].added);
}

/*
 * Runs a change that a dialog asked for.  A dialog that was closed meanwhile
 * leaves the message to the page.
 */

async function submit(box, button, change, complain, message)
{
    if (dialog.busy) {
        return;
    }
    dialog.busy = true;
    button.setAttribute('aria-disabled', 'true');
    try {
        await change();
        box.close();
        succeed(message);
    } catch (failure) {
        if (box.open) {
            complain(failure.message);
        } else {
            fail(failure.message);
        }
    } finally {
        dialog.busy = false;
        button.setAttribute('aria-disabled', 'false');
    }
}

function openConfirm({ title, button, danger, content, change, message, after })
{
    $('confirm-title').textContent = title;
    $('confirm-text').replaceChildren(...content);
    $('confirm-submit').textContent = button;
    $('confirm-submit').className = `button button-${danger ? 'danger'
                                                            : 'primary'}`;
    $('confirm-error').textContent = '';
    dialog.submit = (event) => {
        event.preventDefault();
        $('confirm-error').textContent = '';
        submit($('confirm'), $('confirm-submit'), change,
               (said) => { $('confirm-error').textContent = said; }, message)
            .then(() => after && !$('confirm').open && after());
    };
    $('confirm').showModal();
    $('confirm-cancel').focus();
}

export function confirmDelete(kind, id)
{
    const { deleteTitle, deleteText, deleted } = KINDS[kind];
    const { lists, fixed } = model.config;
    const at = lists[kind].indexOf(id);
    const left = lists[kind].length + fixed[kind].length - 1;

    openConfirm({
        title: deleteTitle,
        button: 'Delete',
        danger: true,
        content: [
            element('p', { className: 'object' }, guid(id)),
            element('p', {}, deleteText),
            kind === 'tenant' && left === 0 ? element('p', {},
                element('strong', {}, 'It is the last tenant: nobody will be '
                    + 'able to enroll.')) : '',
        ],
        change: () => {
            const rest = model.config.lists[kind]
                .filter((other) => other !== id);
            return patch({ [kind]: rest });
        },
        message: deleted,
        after: () => focusRow(kind, at),
    });
}

/* where the reader was: the row that took the place of the deleted one */

function focusRow(kind, at)
{
    const buttons = $(`${kind}-list`).querySelectorAll('button');
    const next = buttons[Math.min(at, buttons.length - 1)];

    (next || $(`${kind}-add`)).focus();
}

export function confirmKeep()
{
    openConfirm({
        title: 'Write the lists back to Redis',
        button: 'Write back',
        danger: false,
        content: [element('p', {}, `The ${sizes()} that are in force on this `
            + 'node are written to Redis, for all nodes.')],
        change: () => patch({ ...model.config.lists }),
        message: 'The lists were written to Redis',
        after: () => $('main').focus(),
    });
}

export function confirmDrop()
{
    openConfirm({
        title: 'Empty the lists',
        button: 'Empty both lists',
        danger: true,
        content: [
            element('p', {}, `The ${sizes()} are given up, on all nodes.`),
            element('p', {}, element('strong', {}, 'Only what nginx.conf names '
                + 'can enroll afterwards.')),
        ],
        change: () => patch({ client: [], tenant: [] }),
        message: 'The lists are empty now',
        after: () => $('main').focus(),
    });
}

export async function addNow(button, id)
{
    if (dialog.busy) {
        return;
    }
    dialog.busy = true;
    button.setAttribute('aria-disabled', 'true');
    try {
        await patch(added('client', id));
        succeed(`${KINDS.client.added} ${id}`);
    } catch (failure) {
        fail(failure.message);
    } finally {
        dialog.busy = false;
        button.setAttribute('aria-disabled', String(readOnly() !== ''));
    }
}
