import { join } from 'node:path';
import type { IssuedCertificate } from '@berth/contracts/registry';
import { createCsr, createKey } from '@berth/identity';
import type { Command } from 'commander';
import { withSession } from '../command.ts';
import type { Context } from '../context.ts';
import { Contexts, writeContext } from '../context.ts';
import { ageText, table } from '../terminal/table.ts';

interface IssueOptions {
  readonly out?: string;
}

export function addCertificateCommands(program: Command): void {
  const certificate = program.command('certificate').description('certificates of people and programs');

  certificate
    .command('issue')
    .description('issue a certificate for an operator, reader or subscriber, with a new key, as a context')
    .argument('<role>', 'operator (may do everything), reader (may look), subscriber (may follow events)')
    .argument('<name>', 'whose it is: one person or program, one machine; it is revoked by this name')
    .option('--out <folder>', 'write the context there, to be carried to where it is used')
    .addHelpText(
      'after',
      [
        '\nExamples:',
        '  berth certificate issue reader grafana                   a context "reader-grafana" among your own',
        '  berth certificate issue operator ann-laptop --out ./ann  a folder for Ann: `berth context add ./ann`',
        '\nA folder holds context.json, cert.pem, key.pem and ca.pem; programs use the last three.',
      ].join('\n'),
    )
    .action(issue);

  certificate
    .command('ls')
    .description('list the certificates that were issued and have not expired')
    .action(async (_options: object, command: Command) =>
      withSession(command, async ({ certificate: client }, terminal) => {
        const { certificates } = await client.listCertificates({});
        terminal.result(certificates, (list) =>
          table(
            ['IDENTITY', 'SERIAL', 'ENDS IN', 'STATE'],
            list.map((each) => row(each, Date.now())),
          ),
        );
      }),
    );

  certificate
    .command('revoke')
    .description('shut out an operator, reader or subscriber with every certificate of that name, for good')
    .argument('<holder>', 'identity, e.g. operator:ann-laptop, or the serial number of one of its certificates')
    .addHelpText(
      'after',
      [
        '\nExamples:',
        '  berth certificate revoke operator:ann-laptop',
        '  berth certificate revoke 5a0c…                           see `berth certificate ls`',
        '\nIts calls and streams end at once, its NATS connections within seconds; the name does not come back.',
        'A node is shut out by `berth node rm`.',
      ].join('\n'),
    )
    .action(async (holder: string, _options: object, command: Command) =>
      withSession(command, async ({ certificate: client }, terminal) => {
        const $case = holder.includes(':') ? ('identity' as const) : ('serial' as const);
        const { identity } = await client.revokeCertificate({ holder: { $case, value: holder } });
        terminal.result({ identity }, (value) => `${value.identity} is revoked`);
      }),
    );
}

async function issue(role: string, name: string, options: IssueOptions, command: Command): Promise<void> {
  await withSession(command, async ({ certificate, context, members }, terminal) => {
    const key = await createKey();
    const csr = Buffer.from(await createCsr(key, `${role}:${name}`));
    const issued = await certificate.issueCertificate({ csr, role, name });
    const registries = members.filter(({ identity }) => identity === 'service:registry').map(({ address }) => address);
    const made: Context = { name: `${role}-${name}`, clusterId: context.clusterId, registries };
    const credentials = { cert: issued.certificatePem, key, ca: issued.caPem };
    const folder = options.out ?? new Contexts().add(made, credentials);
    if (options.out !== undefined) writeContext(folder, made, credentials);
    terminal.result({ folder, identity: `${role}:${name}`, context: made.name }, (value) =>
      options.out === undefined
        ? `${value.identity}: context ${value.context} written; use it with --context ${value.context}`
        : `${value.identity}: written to ${join(value.folder)}`,
    );
  });
}

function row(each: IssuedCertificate, nowMs: number): string[] {
  return [each.identity, each.serial, ageText(each.notAfterMs - nowMs), each.revoked ? 'revoked' : 'valid'];
}
