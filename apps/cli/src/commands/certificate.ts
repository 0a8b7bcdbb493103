import { createCsr, createKey } from '@berth/identity';
import type { Command } from 'commander';
import { withSession } from '../command.ts';
import { writeCredentials } from '../credentials.ts';

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
        writeCredentials(options.out, { cert: issued.certificatePem, key, ca: issued.caPem });
        terminal.result(
          { folder: options.out, identity: `${options.role}:${options.name}` },
          (value) => `${value.identity}: written to ${value.folder}`,
        );
      }),
    );
}
