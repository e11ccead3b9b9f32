"""What Postfix and Dovecot read: the text of their configuration files, from a dictionary of names and values."""

from pathlib import Path
from string import Template

_DOVECOT = Template("""base_dir = $directory/dovecot
state_dir = $directory/dovecot-state
log_path = $directory/dovecot.log
protocols = imap pop3 lmtp
mail_location = maildir:$directory/mail/%u
mail_plugins = $plugins
first_valid_uid = 1
# Before TLS this shows only to a client whose address is not the server's: loopback's `foreign_host`.
ssl = required
ssl_cert = <$cert_file
ssl_key = <$key_file
auth_mechanisms = $auth_mechanisms
auth_verbose = yes
auth_failure_delay = 0
default_client_limit = 4096
default_process_limit = 1024
mail_max_userip_connections = 1024
recipient_delimiter = +
lmtp_save_to_detail_mailbox = yes
lda_mailbox_autocreate = yes
# A file each: Dovecot looks whether a file has changed once a second only.
passdb {
  driver = passwd-file
  args = $directory/users/%u
}
userdb {
  driver = static
  args = uid=mail gid=mail home=$directory/mail/%u
}
namespace inbox {
  inbox = yes
  mailbox Junk {
    auto = create
    special_use = \\Junk
  }
}
service anvil {
  # Dovecot delays every logon from an address that failed before: tests of a wrong password would slow the others.
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service auth {
  inet_listener {
    address = 127.0.0.1
    port = $auth
  }
}
service lmtp {
  inet_listener lmtp {
    address = 127.0.0.1
    port = $lmtp
  }
}
""")

_READER = Template("""service $protocol-login {
  process_limit = 1024
  service_count = 0
  inet_listener $protocol {
    address = $hosts
    port = $port
  }
  inet_listener ${protocol}s {
    address = $hosts
    port = $tls_port
    ssl = yes
  }
}
service $protocol {
  process_limit = 1024
}
""")

_QUOTA = Template("""plugin {
  quota = count:User quota
  quota_vsizes = yes
  quota_rule = *:storage=$quota
  quota_grace = 0
  quota_status_success = DUNNO
  quota_status_nouser = DUNNO
  quota_status_overquota = 552 5.2.2 Mailbox is full
}
service quota-status {
  executable = quota-status -p postfix
  client_limit = 1
  inet_listener {
    address = 127.0.0.1
    port = $port
  }
}
""")

_MASTER = """postlog unix-dgram n - n - 1 postlogd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
lmtp unix - - n - 50 lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
"""


def dovecot(
    directory: Path, hosts: tuple[str, ...], ports: dict[str, int], *, quota: str | None, extra: str, **values: str | Path
) -> str:
    """dovecot.conf"""
    parts = [
        _DOVECOT.substitute(values, directory=directory, auth=ports["auth"], lmtp=ports["lmtp"], plugins="quota" if quota else ""),
        *(
            _READER.substitute(protocol=name, hosts=" ".join(hosts), port=ports[name], tls_port=ports[f"{name}s"])
            for name in ("imap", "pop3")
        ),
        _QUOTA.substitute(quota=quota, port=ports["quota"]) if quota else "",
        extra,
    ]
    return "".join(parts)


def postfix_main(
    directory: Path,
    ports: dict[str, int],
    *,
    fqdn: str,
    domain: str,
    chain_files: str,
    discard: bool,
    quota: str | None,
    extra: dict[str, str],
) -> str:
    """main.cf"""
    full = [f"check_recipient_access texthash:{directory}/postfix/full"]
    policy = [f"check_policy_service inet:127.0.0.1:{ports['quota']}"] if quota else []
    settings = {
        "compatibility_level": "3.6",
        "queue_directory": f"{directory}/queue",
        "data_directory": f"{directory}/data",
        "maillog_file": f"{directory}/postfix.log",
        "maillog_file_prefixes": str(directory),
        "myhostname": fqdn,
        "mydestination": "",
        "mynetworks": "",
        "inet_protocols": "all",
        "alias_maps": "",
        "local_recipient_maps": "",
        "virtual_mailbox_domains": domain,
        "virtual_transport": "discard:" if discard else f"lmtp:inet:127.0.0.1:{ports['lmtp']}",
        "lmtp_destination_concurrency_limit": "100",
        "smtpd_relay_restrictions": "permit_sasl_authenticated, reject_unauth_destination",
        "smtpd_recipient_restrictions": ", ".join([*full, *policy, "permit_sasl_authenticated", "reject"]),
        "smtpd_sasl_auth_enable": "yes",
        "smtpd_sasl_authenticated_header": "yes",
        "smtpd_sasl_type": "dovecot",
        "smtpd_sasl_path": f"inet:127.0.0.1:{ports['auth']}",
        "smtpd_tls_auth_only": "yes",
        "smtpd_tls_chain_files": chain_files,
        "smtpd_tls_security_level": "may",
        "smtpd_tls_loglevel": "1",
        "smtpd_client_connection_count_limit": "0",
        "smtpd_client_connection_rate_limit": "0",
        "smtpd_error_sleep_time": "0",
        "default_process_limit": "600",
        "smtp_dns_support_level": "disabled",
        **extra,
    }
    return "".join(f"{key} = {value}\n" for key, value in settings.items())


def postfix_master(hosts: tuple[str, ...], ports: dict[str, int], *, starttls: bool) -> str:
    """master.cf: the three submission ports at every address, nothing chrooted."""
    plain = "" if starttls else " -o smtpd_tls_security_level=none"
    options = {"submission": plain, "smtp25": plain, "submissions": " -o smtpd_tls_wrappermode=yes"}
    smtpd = [
        f"{f'[{host}]' if ':' in host else host}:{ports[name]} inet n - n - 600 smtpd{more}\n"
        for name, more in options.items()
        for host in hosts
    ]
    return "".join(smtpd) + _MASTER
