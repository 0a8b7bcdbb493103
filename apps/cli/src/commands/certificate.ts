import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createCsr, createKey } from '@berth/identity';
import type { Command } from 'commander';
import { withSession } from '../command.ts';

interface IssueOptions {
  readonly role: string;
  readonly name: string;
  readonly out: string;
}

export function addCertificateCommands(program: Command): void {
  program
    .command('certificate')
    .description('certificates of people and programs')
    .command('issue')
    .description('issue a certificate for an operator, reader or subscriber, with a new key')
    .requiredOption('--role <role>', 'operator, reader or subscriber')
    .requiredOption('--name <name>', 'whose it is, for the audit')
    .option('--out <folder>', 'where cert.pem, key.pem and ca.pem are written', '.')
    .addHelpText('after', '\nExamples:\n  berth certificate issue --role subscriber --name dashboard --out ./dashboard')
    .action(async (options: IssueOptions, command: Command) =>
      withSession(command, async ({ certificate }, terminal) => {
        const key = await createKey();
        const csr = Buffer.from(await createCsr(key, `${options.role}:${options.name}`));
        const issued = await certificate.issueCertificate({ csr, role: options.role, name: options.name });
        mkdirSync(options.out, { recursive: true, mode: 0o700 });
        writeFileSync(join(options.out, 'cert.pem'), issued.certificatePem);
        writeFileSync(join(options.out, 'ca.pem'), issued.caPem);
        writeFileSync(join(options.out, 'key.pem'), key, { mode: 0o600 });
        terminal.result(
          { folder: options.out, identity: `${options.role}:${options.name}` },
          (value) => `${value.identity}: written to ${value.folder}`,
        );
      }),
    );
}
