# Builds the module outside of nginx's own tree, and the command entra-mdmctl,
# everything in one folder.
#
#   make                     for the installed nginx, from Debian's nginx-dev
#   make module              without the command, which takes libcurl and libyaml
#   make NGINX_SRC=DIR       for another nginx source tree; DIR stays untouched
#   make CC=clang BUILD=DIR  with another compiler, into another folder
#   make install             module, examples, command, page; DESTDIR is honoured
#   make install-module      without the command
#   make core                builds and runs the unit tests of the core
#   make fuzz T=soap S=60    one fuzzer of the core, for so many seconds;
#                            with ENGINE=afl under AFL++: tools/setup fuzz
#   make coverage            what the core's tests reach, by lines and branches
#   make analyze             static analysis: gcc -fanalyzer, clang-tidy, cppcheck,
#                            or some of them: make analyze TOOLS='gcc cppcheck'
#   make strict              compiles core and command with the strictest warnings
#   make test                runs every test
#   make clean
#
# V=1 shows every command.

NAME      = ngx_http_entra_mdm_module
BUILD     = build
NGINX_SRC = /usr/share/nginx/src

# With what an NGINX_SRC of your own is configured; nginx loads the module if its
# own ./configure had --with-compat too.  nginx-dev brings its options along.
NGX_OPT = --with-compat

ifeq ($(origin CC),default)
CC      = gcc
endif
CC_OPT  = -g -O2 -fstack-protector-strong -D_FORTIFY_SOURCE=2 \
          -Wformat -Werror=format-security
LD_OPT  = -Wl,-z,relro -Wl,-z,now

PREFIX          = /usr/local
BIN_DIR         = $(PREFIX)/bin
MAN_DIR         = $(PREFIX)/share/man/man1
COMPLETION_DIR  = $(PREFIX)/share/bash-completion/completions

CONF_DIR    = /etc/nginx/entra-mdm
UI_DIR      = /usr/share/entra-mdm/ui
MODULES_DIR = $(shell PATH="$$PATH:/usr/sbin" nginx -V 2>&1 \
                | sed -n 's/.* --modules-path=\([^ ]*\).*/\1/p')

STRICT = -std=gnu11 -O2 -Wall -Wextra -Wpedantic -Wshadow -Wconversion \
         -Wno-sign-conversion -Werror

build   := $(abspath $(BUILD))
ngx_src := $(abspath $(NGINX_SRC))
module  := $(build)/$(NAME).so
tree    := $(build)/nginx-tree
objs    := $(build)/objs
core    := $(wildcard $(NAME)/core/*.c)
sources := $(core) $(wildcard $(NAME)/*.c $(NAME)/*.h $(NAME)/core/*.h)

mdmctl         := $(build)/entra-mdmctl
mdmctl_objs    := $(build)/mdmctl
mdmctl_sources := $(wildcard entra-mdmctl/*.c)
mdmctl_cc      = $(CC) -std=gnu11 -D_GNU_SOURCE -Wall -Wextra $(CC_OPT) \
                 -I $(NAME)/core -I entra-mdmctl
mdmctl_libs    = -lcurl -lyaml -ljansson -lexpat -lcrypto


.PHONY: all module command install install-module install-command core \
        coverage fuzz analyze strict test clean FORCE

all: module command

module: $(module)

command: $(mdmctl)

$(module): $(objs)/Makefile $(sources)
	@echo "compiling with $(CC)"
	@$(MAKE) $(if $(V),,-s) --no-print-directory -C $(tree) -f $(objs)/Makefile modules
	@cp $(objs)/$(NAME).so $@.new && mv $@.new $@
	@echo "built $@"

# ./configure runs in a folder of links, because some nginx versions write a
# Makefile into the folder they run in, and NGINX_SRC may be read-only.
# conf_flags is how nginx-dev tells the options of the packaged nginx; it is a
# bash array.

$(objs)/Makefile: config $(build)/settings
	@rm -rf $(tree) $(objs)
	@mkdir -p $(tree)
	@ln -s $(filter-out %/Makefile %/objs,$(wildcard $(ngx_src)/*)) $(tree)
	@echo "configuring for nginx in $(ngx_src)"
	@cd $(tree) && bash -ec ' \
	    NGX_CONF_FLAGS=($(NGX_OPT)); \
	    [ ! -e conf_flags ] || . ./conf_flags; \
	    configure=./configure; [ -e $$configure ] || configure=auto/configure; \
	    $$configure "$${NGX_CONF_FLAGS[@]}" --with-cc="$(CC)" \
	        --with-cc-opt="$(CC_OPT)" --with-ld-opt="$(LD_OPT)" \
	        --builddir=$(objs) --add-dynamic-module=$(CURDIR)' \
	    >$(build)/configure.log 2>&1 \
	    || { rm -f $(objs)/Makefile; tail -n 5 $(build)/configure.log; \
	         echo "the whole output is in $(build)/configure.log"; exit 1; } >&2

# Holds what the build depends on besides files, and is touched only when that
# changes: then everything is configured and built anew.

$(build)/settings: FORCE
	@[ -e $(ngx_src)/src/core/nginx.h ] || { \
	    echo "There is no nginx source in $(ngx_src)."; \
	    echo "As root, tools/setup build installs Debian's nginx-dev and the"; \
	    echo "libraries; make NGINX_SRC=DIR takes another nginx source tree."; \
	    exit 1; } >&2
	@mkdir -p $(build)
	@{ echo '$(CURDIR) $(ngx_src) $(NGX_OPT) $(CC) $(CC_OPT) $(LD_OPT)'; \
	   $(CC) --version; cat $(ngx_src)/src/core/nginx.h; \
	   cat $(wildcard $(ngx_src)/conf_flags) </dev/null; } >$@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi


# The command shares the core's sources, not its objects: nginx compiles those.

$(mdmctl): $(core:$(NAME)/core/%.c=$(mdmctl_objs)/%.o) \
           $(mdmctl_sources:entra-mdmctl/%.c=$(mdmctl_objs)/%.o)
	$(if $(V),,@)$(CC) $(CC_OPT) $(LD_OPT) -o $@.new $^ $(mdmctl_libs) && mv $@.new $@
	@echo "built $@"

$(mdmctl_objs)/%.o: $(NAME)/core/%.c $(mdmctl_objs)/settings
	$(if $(V),,@)$(mdmctl_cc) -MMD -c -o $@ $<

$(mdmctl_objs)/%.o: entra-mdmctl/%.c $(mdmctl_objs)/settings
	$(if $(V),,@)$(mdmctl_cc) -MMD -c -o $@ $<

$(mdmctl_objs)/settings: FORCE
	@mkdir -p $(mdmctl_objs)
	@printf '#include <curl/curl.h>\n#include <yaml.h>\n' \
	    | $(CC) -E - >/dev/null 2>&1 || { \
	    echo "The command entra-mdmctl takes libcurl and libyaml.  As root,"; \
	    echo "tools/setup build installs Debian's libcurl4-openssl-dev and"; \
	    echo "libyaml-dev; make module builds without the command."; \
	    exit 1; } >&2
	@{ echo '$(mdmctl_cc) $(LD_OPT)'; $(CC) --version; } >$@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

-include $(wildcard $(mdmctl_objs)/*.d)


install: install-module install-command

install-command: $(mdmctl)
	install -d $(DESTDIR)$(BIN_DIR) $(DESTDIR)$(MAN_DIR) \
	    $(DESTDIR)$(COMPLETION_DIR)
	install -m 755 $(mdmctl) $(DESTDIR)$(BIN_DIR)
	install -m 644 entra-mdmctl/entra-mdmctl.1 $(DESTDIR)$(MAN_DIR)
	install -m 644 entra-mdmctl/entra-mdmctl.bash \
	    $(DESTDIR)$(COMPLETION_DIR)/entra-mdmctl

# A configuration file that the administrator has changed is left alone.

install-module: $(module)
	@[ -n "$(MODULES_DIR)" ] || { \
	    echo "nginx -V names no --modules-path:" \
	         "say make install MODULES_DIR=DIR" >&2; exit 1; }
	install -d $(DESTDIR)$(MODULES_DIR) $(DESTDIR)$(CONF_DIR) \
	    $(DESTDIR)$(UI_DIR) $(DESTDIR)$(CONF_DIR)/prometheus \
	    $(DESTDIR)$(CONF_DIR)/redis
	install -m 644 $(module) $(DESTDIR)$(MODULES_DIR)
	install -m 644 $(wildcard ui/*) $(DESTDIR)$(UI_DIR)
	@for file in $(wildcard conf-examples/*.conf \
	                        conf-examples/prometheus/* \
	                        conf-examples/redis/*); do \
	    target=$(DESTDIR)$(CONF_DIR)/$${file#conf-examples/}; \
	    if [ -e $$target ] && ! cmp -s $$file $$target; then \
	        echo "$$target was changed: it stays," \
	             "the new one is $$target.new"; \
	        target=$$target.new; \
	    fi; \
	    install -m 644 $$file $$target; \
	done
	@echo "nginx.conf needs this line, above the events block:"
	@echo "    load_module $(MODULES_DIR)/$(NAME).so;"


core:
	@$(MAKE) --no-print-directory -C t/core check BUILD=$(build)/core

T = soap
S = 60
ENGINE = libfuzzer

fuzz:
	@$(MAKE) -s --no-print-directory -C t/fuzz run BUILD=$(build)/fuzz \
	    T=$(T) S=$(S) ENGINE=$(ENGINE)

coverage:
	@$(MAKE) --no-print-directory -C t/core coverage BUILD=$(build)/coverage

# nginx's headers include what ./configure has found

analyze: $(objs)/Makefile
	@BUILD=$(BUILD) tools/analyze $(TOOLS)

strict: $(core:$(NAME)/core/%.c=$(build)/strict/%.o) \
        $(mdmctl_sources:entra-mdmctl/%.c=$(build)/strict/%.o)
	@echo "no warnings in core and command from $(CC)"

$(build)/strict/%.o: $(NAME)/core/%.c $(wildcard $(NAME)/core/*.h)
	@mkdir -p $(@D)
	$(if $(V),,@)$(CC) $(STRICT) -I $(NAME)/core -c -o $@ $<

$(build)/strict/%.o: entra-mdmctl/%.c $(wildcard entra-mdmctl/*.h $(NAME)/core/*.h)
	@mkdir -p $(@D)
	$(if $(V),,@)$(CC) $(STRICT) -D_GNU_SOURCE -I $(NAME)/core \
	    -I entra-mdmctl -c -o $@ $<

test:
	tools/test

clean:
	rm -rf build
