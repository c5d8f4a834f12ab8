/*
 * Runs the scenarios of the page in one headless Chromium, for t/page.t,
 * which reads what this prints: a line of JSON for each claim.
 *
 *   node run.js '{"page": URL, "scenarios": ["lists"], "chromium": PATH, ...}'
 *
 * Each scenario has a browser context of its own, signed in as `user`, and
 * finds the stand-in API, if `control` leads to one, as `state` says.  After
 * each, nothing may have violated the Content-Security-Policy, gone to another
 * origin, or been an error on the console; requests that fail on purpose are
 * named by `failing`.
 *
 * What is asked for in a line {"ask": NAME} is done by the time a line comes
 * back on standard input.
 */

'use strict';

const readline = require('node:readline');
const { chromium } = require('playwright-core');

const settings = JSON.parse(process.argv[2]);
const scenarios = settings.scenarios.flatMap((name) => require(`./${name}.js`));
const PATIENCE = 15000;


class Claims {
    constructor(scenario)
    {
        this.scenario = scenario;
    }

    ok(ok, name, diag)
    {
        const line = { scenario: this.scenario, ok: Boolean(ok), name, diag };
        process.stdout.write(JSON.stringify(line) + '\n');
    }

    is(got, expected, name)
    {
        const [a, b] = [got, expected].map((value) => JSON.stringify(value));
        this.ok(a === b, name, a === b ? '' : `got ${a}, expected ${b}`);
    }

    like(got, pattern, name)
    {
        this.ok(pattern.test(got), name, `got ${got}`);
    }

    async see(locator, name)
    {
        const seen = await locator.first().waitFor({ timeout: PATIENCE })
            .then(() => true, () => false);
        this.ok(seen, name, `not visible: ${locator}`);
    }

    async gone(locator, name)
    {
        const gone = await locator.first()
            .waitFor({ state: 'hidden', timeout: PATIENCE })
            .then(() => true, () => false);
        this.ok(gone, name, `still visible: ${locator}`);
    }

    /* what the condition returns once it is true */
    async eventually(condition, name)
    {
        const until = Date.now() + PATIENCE;
        let value;

        while (!(value = await condition()) && Date.now() < until) {
            await new Promise((resolve) => { setTimeout(resolve, 20); });
        }
        this.ok(value, name, `got ${JSON.stringify(value)}`);
        return value;
    }
}


/* what is not for a browser to do */

let answers = null;

async function ask(name)
{
    answers = answers || readline.createInterface({ input: process.stdin });
    const answer = new Promise((resolve) => {
        answers.once('line', resolve);
    });

    process.stdout.write(JSON.stringify({ ask: name }) + '\n');
    if (await answer !== 'done') {
        throw new Error(`asked for in vain: ${await answer}`);
    }
}


/* the stand-in API, from behind */

async function control(changes)
{
    if (!settings.control) {
        return null;
    }
    const answer = await fetch(`${settings.control}/_state`, changes && {
        method: 'POST', body: JSON.stringify(changes),
    });
    return answer.json();
}


async function watch(context, page, troubles, home)
{
    const { origin } = new URL(home);

    await context.exposeBinding('reportViolation',
        (source, what) => troubles.violations.push(what));
    await context.addInitScript(() => {
        document.addEventListener('securitypolicyviolation', (event) => {
            window.reportViolation(`${event.effectiveDirective} `
                                   + event.blockedURI);
        });
    });
    context.on('request', (request) => {
        const url = new URL(request.url());
        if (url.origin !== origin && url.protocol !== 'data:') {
            troubles.elsewhere.push(request.url());
        }
    });
    page.on('pageerror', (error) => troubles.errors.push(String(error)));
    page.on('console', (message) => {
        if (message.type() === 'error' || message.type() === 'warning') {
            troubles.errors.push(message.text());
        }
    });
}


async function run(browser, scenario)
{
    const claims = new Claims(scenario.name);
    const troubles = { violations: [], elsewhere: [], errors: [] };
    const context = await browser.newContext({
        locale: 'en-GB', timezoneId: 'UTC', viewport: { width: 1280,
                                                        height: 900 },
        httpCredentials: { username: scenario.user || 'anna',
                           password: 'secret' },
        colorScheme: 'light', reducedMotion: 'reduce', ...scenario.context,
    });
    const page = await context.newPage();
    const home = scenario.at ? settings.pages[scenario.at] : settings.page;

    page.setDefaultTimeout(PATIENCE);
    await watch(context, page, troubles, home);
    await control({ reset: true, ...scenario.state });
    try {
        if (scenario.clock) {
            await page.clock.install();
        }
        if (!scenario.closed) {
            await page.goto(home);
            await page.locator('main[aria-busy=false]').waitFor();
        }
        await scenario.run({ page, context, control, settings, troubles, home,
                             ask, t: claims });
    } catch (error) {
        claims.ok(false, 'runs to its end', String(error.stack));
    }

    const failing = scenario.failing || /$^/;
    claims.is(troubles.violations, [], 'no CSP violation');
    claims.is(troubles.elsewhere, [], 'no request to another origin');
    claims.is(troubles.errors.filter((text) => !failing.test(text)), [],
        'no error on the console');
    await context.close();
}


async function main()
{
    const wanted = settings.only ? new RegExp(settings.only) : /^/;
    const browser = await chromium.launch({
        executablePath: settings.chromium,
        args: ['--no-sandbox', '--disable-gpu', '--disable-quic',
               '--no-first-run', '--disable-background-networking',
               '--disable-component-update', '--disable-sync',
               '--disable-dev-shm-usage'],
    });

    for (const scenario of scenarios) {
        if (wanted.test(scenario.name)) {
            await run(browser, scenario);
        }
    }
    await browser.close();
    if (answers) {
        answers.close();
    }
    process.stdout.write('{"end":true}\n');
}

main().catch((error) => {
    process.stderr.write(`${error.stack}\n`);
    process.exit(1);
});
